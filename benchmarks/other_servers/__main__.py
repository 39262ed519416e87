"""`python -m benchmarks.other_servers`: other model servers with the same classifier, in one interleaved run.

Servers run one at a time, because some of them use the processor even without requests. The other servers run the
classifier of the application in FastAPI.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import ARTIFACT, answers, environments, rest
from benchmarks.environments import NotInstalled
from benchmarks.markdown import circumstances, show
from benchmarks.other_servers.report import Measurements, document, save_plot, summary
from benchmarks.other_servers.servers import OTHER_SERVERS, MeasuredServer, OtherServer, measured_server, references
from benchmarks.rest import Script
from benchmarks.serving.cases import SHORT, WHOLE
from loadtest.errors import LoadTestError
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact

_CONNECTIONS = 32
_WARM_UP = 1  # seconds
_CHECKED = 8  # texts per kind


def main() -> None:
    """Install the environments, or measure and print."""
    names = [other.name for other in OTHER_SERVERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.other_servers", description=__doc__)
    parser.add_argument("--install", action="store_true", help="create the environments without measuring")
    parser.add_argument("--python", default=sys.executable, help="Python of the environments (default: this one)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="these servers (default: all)")
    parser.add_argument("--texts", default=texts.IMDB, help="imdb (generated), or a .txt, .csv, .jsonl, .parquet")
    parser.add_argument("--seconds", type=int, default=3, help="of each run (default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="of all runs (default: 3)")
    parser.add_argument("--workers", type=int, default=2, help="of every server (default: 2)")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    parser.add_argument("--plot", type=Path, help="write a plot of the medians to this file (.svg, .png)")
    options = parser.parse_args()
    chosen = [other for other in OTHER_SERVERS if other.name in options.only]
    if options.install:
        environments.install_missing({other.name: other.package for other in chosen}, options.python)
    else:
        measure(chosen, options)


def measure(others: Sequence[OtherServer], options: argparse.Namespace) -> None:
    """Run all rounds, and write the table, the document and the plot."""
    rest.require()
    tokenizer = read_artifact(ARTIFACT).tokenizer
    whole = texts.choose(options.texts, tokenizer, 1024)
    kinds = {WHOLE: whole, SHORT: texts.shorten(whole)}
    versions = {other.title: environments.version(other.name, other.package) for other in others}
    about = {
        "machine": circumstances(),
        "versions": versions,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": _CONNECTIONS,
        "workers": options.workers,
    }
    print(circumstances())
    print(", ".join(f"{title} {version}" for title, version in versions.items()))
    print(
        f"{_CONNECTIONS} connections, {options.workers} workers, medians of {options.rounds} rounds of "
        f"{options.seconds} s.\n"
    )

    measured: dict[str, Measurements] = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        servers = references(options.workers)
        for other in others:
            try:
                servers.append(measured_server(other, options.workers, Path(folder)))
            except NotInstalled as reason:
                absent[other.title] = str(reason)
        comparison = Comparison(kinds, options.seconds)
        for number in range(options.rounds):
            for each in [each for each in servers if each.title not in absent]:
                show(f"round {number + 1} of {options.rounds}: {each.title}")
                try:
                    comparison.run(each, measured.setdefault(each.title, Measurements()))
                except LoadTestError as error:
                    absent[each.title] = str(error)
                    measured.pop(each.title)
    show("")
    print("\n\n".join(summary(measured, absent)))
    if options.json:
        options.json.write_text(document(measured, absent, about))
    if options.plot:
        save_plot(measured, options.plot)


class Comparison:
    """The same measurement for every server."""

    def __init__(self, kinds: dict[str, list[str]], seconds: int) -> None:
        self._kinds = kinds
        self._seconds = seconds
        self._truth = answers.expected(text for each in kinds.values() for text in each[:_CHECKED])

    def run(self, compared: MeasuredServer, measured: Measurements) -> None:
        """Start a server, check its answers, warm it up, measure it with every kind of text, and stop it.

        Raises `LoadTestError` if it does not start or its answers are wrong.
        """
        started = time.perf_counter()
        with compared.server as server:
            answers.check(server, compared.form, self._truth, compared.probability)
            measured.ready.append(time.perf_counter() - started)
            for kind, each in self._kinds.items():
                script = Script(compared.form, each)
                with contextlib.suppress(LoadTestError):  # the first answers of some servers take longer
                    rest.run(server, script, _CONNECTIONS, _WARM_UP)
                load = rest.run(server, script, _CONNECTIONS, self._seconds)
                measured.loads.setdefault(kind, []).append(load)
            measured.memory.append(sum(server.pss_megabytes()))


if __name__ == "__main__":
    main()
