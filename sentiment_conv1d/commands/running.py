"""How a command runs: its errors become messages and exit statuses, and its output can end before the command does."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from sentiment_conv1d.artifact.errors import OutputError, SentimentError, about_files, exit_status
from sentiment_conv1d.commands.interruption import interruptible, terminated
from sentiment_conv1d.commands.startup import die_of_sigterm, serves

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: The exit statuses of a command that Ctrl-C ends, and of one whose output nobody reads: 128 plus the signal.
INTERRUPTED, UNREAD = 128 + signal.SIGINT, 128 + signal.SIGPIPE

#: The statuses of commands that failed. Others are results, which somebody has to read.
_FAILED = (2, os.EX_TEMPFAIL, INTERRUPTED)

_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2


def run_command(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    run: Callable[[argparse.Namespace], int],
    left: Callable[[argparse.Namespace], str] = lambda options: "nothing was written",
) -> int:
    """Parse the arguments, run the command, and return its exit status.

    It is that of `run`, or 2 for an error of the user, 75 for one that can pass by itself, 130 after Ctrl-C, and 141 if
    the program that reads standard output ends first. Standard output on a full disk is an error with status 75. In
    both cases the command finishes its work, and what it prints is discarded. `left` says what an interrupted command
    leaves behind. After SIGTERM, the command cleans up and its process dies of the signal. Raises `SystemExit` for
    `--help` and for arguments that the parser refuses.
    """
    status = _with_streams(parser, arguments, run, left)
    if status == INTERRUPTED and terminated():
        die_of_sigterm()
    return status


def _with_streams(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    run: Callable[[argparse.Namespace], int],
    left: Callable[[argparse.Namespace], str],
) -> int:
    with nullcontext() if serves() else interruptible(), _standard_streams() as output:
        try:
            status = _run(parser, arguments, run, left)
            failure = output.failure()
        except SystemExit:  # of the parser
            if (failure := output.failure()) is None:
                raise
            status = 0
        except OutputError as error:
            failure, status = error.cause, 0
        return status if failure is None or status in _FAILED else _report(failure)


def _run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    run: Callable[[argparse.Namespace], int],
    left: Callable[[argparse.Namespace], str],
) -> int:
    options = None
    try:
        options = parser.parse_args(arguments)
        with about_files():
            return run(options)
    except OutputError:
        raise
    except SentimentError as error:
        print(error.report, file=sys.stderr)
        return exit_status(error)
    except MemoryError as error:
        print("error: there is not enough memory", file=sys.stderr)
        return exit_status(error)
    except KeyboardInterrupt:
        print("interrupted:", "nothing was written" if options is None else left(options), file=sys.stderr)
        return INTERRUPTED


def _report(failure: OSError) -> int:
    """Say why standard output cannot be written, unless its reader has ended, and return the exit status."""
    if isinstance(failure, BrokenPipeError):
        return UNREAD
    print(OutputError(failure).report, file=sys.stderr)
    return exit_status(failure)


@contextmanager
def result_output() -> Iterator[BinaryIO]:
    """Open standard output for the result of a command, which has no work left once nobody reads it.

    Raises `OutputError` if it cannot be written.
    """
    sys.stdout.flush()
    try:
        with open(sys.stdout.fileno(), "wb", closefd=False) as file:
            yield file
    except OSError as error:
        raise OutputError(error) from error


class _Stream(io.FileIO):
    """A standard stream that keeps its first error, and from then on discards what it gets."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.error: OSError | None = None

    def write(self, content: ReadableBuffer, /) -> int:
        if self.error is None:
            try:
                return super().write(content)
            except OSError as error:
                self.error = error
        return memoryview(content).nbytes


class _Output:
    """Standard output of a command, as far as this process writes it itself."""

    def __init__(self, stream: _Stream | None) -> None:
        self._stream = stream

    def failure(self) -> OSError | None:
        """Write what is buffered, and return the first error of the stream."""
        if self._stream is None:
            return None
        sys.stdout.flush()
        return self._stream.error


@contextmanager
def _standard_streams() -> Iterator[_Output]:
    """Replace the standard streams by streams that raise no errors, unless somebody has replaced them already.

    Errors of standard error are ignored. If it is closed, /dev/null replaces it, because progress bars need it, and
    another file would get its number.
    """
    output, errors = sys.stdout, sys.stderr
    if errors is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - open until the end
    elif errors is sys.__stderr__:
        sys.stderr = _text(errors, _Stream(_STANDARD_ERROR))
    stream = None
    if output is not None and output is sys.__stdout__:
        stream = _Stream(_STANDARD_OUTPUT)
        sys.stdout = _text(output, stream)
    try:
        yield _Output(stream)
    finally:
        for each in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                each.flush()
        sys.stdout, sys.stderr = output, errors if errors is not None else sys.stderr


def _text(original: Any, stream: _Stream) -> TextIO:
    """Return a text stream like the original, which is empty."""
    by_line = original.line_buffering or original.write_through
    return io.TextIOWrapper(
        io.BufferedWriter(stream), encoding=original.encoding, errors=original.errors, line_buffering=by_line
    )
