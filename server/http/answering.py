"""Answers the requests of a connection one after the other, with and without tasks."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Coroutine
from typing import Any

from sentiment_conv1d.server.http.asgi import PIECE_BYTES
from sentiment_conv1d.server.http.fast_path import FastRequest
from sentiment_conv1d.server.http.parsing import ParsingProtocol

logger = logging.getLogger(__name__)

#: Seconds of the event loop that a request through ASGI takes, and the next piece of a large answer.
ASGI_SECONDS = 0.0005
_PIECE_SECONDS = 0.00003


class AnsweringProtocol(ParsingProtocol):
    """The answering half of a connection: the requests of the fast path, and the order of all requests.

    Large answers without a task are sent piece by piece, and pipelined requests start, in the turns of the connection.
    """

    _running: asyncio.Task[None] | None = None  # the task of a request on the fast path, until it is answered
    _answering: FastRequest | None = None  # such a request without a task, until its answer is written
    _sent = 0  # answers without a task
    _next = False  # whether the first request of the pipeline waits for a turn

    @abstractmethod
    def _await_request(self) -> None:
        """Called when all requests that have arrived are answered."""

    def resume_writing(self) -> None:
        """Go on with an answer when the client has read most of what was written."""
        super().resume_writing()
        if self._pending:
            self._take_turn(PIECE_BYTES)

    @property
    def _idle(self) -> bool:
        """Return whether no request is being answered."""
        answered = self._running is None and self._answering is None
        return answered and (self.cycle is None or self.cycle.response_complete)

    def _answer(self, request: FastRequest) -> None:
        """Answer a complete request of the fast path."""
        self._answering = request
        if (sending := request.handler(request)) is None:
            self._sent += 1
            return
        self._answering = None
        self._turns.spend()
        self._running = task = self.loop.create_task(self._serve(request, sending))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _start_next(self) -> None:
        """Start the first request of the pipeline when it is the connection's turn."""
        self._next = True
        self._take_turn(PIECE_BYTES)

    def _stop_sending(self) -> None:
        """Drop a request without a task, or the rest of its answer, because the connection is lost."""
        if (request := self._answering) is not None:
            self._answering = None
            if request.disconnected is not None:
                request.disconnected()
            request.charge.release()

    @property
    def _pending(self) -> bool:
        sending = self._answering is not None and bool(self._answering.unsent) and not self.flow.write_paused
        return self._next or sending

    def _go_on(self) -> None:
        if (request := self._answering) is not None:
            self._turns.spend(_PIECE_SECONDS)
            request.send_piece()
            self._end_if_sent(request)
            return
        self._next = False
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._await_request()

    def _end_if_sent(self, request: FastRequest) -> None:
        """End a request without a task if its answer is written, or go on with it."""
        if request.unsent:
            if self._pending:
                self._take_turn(PIECE_BYTES)
        elif self._answering is request:
            request.charge.release()
            self._answering = None
            self.admitted = self.admitted or request.admitted
            self.on_response_complete()

    async def _serve(self, request: FastRequest, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await sending
        except Exception:
            logger.exception("%s failed", request.target.decode())
            self.transport.abort()
        finally:
            request.charge.release()
            self.admitted = self.admitted or request.admitted
            self._running = None
            self.on_response_complete()
