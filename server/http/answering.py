"""Answers the requests of a connection one after the other, with and without tasks."""

from __future__ import annotations

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

    Large answers are sent piece by piece, and pipelined requests start, in the turns of the connection.
    """

    _answering: FastRequest | None = None  # a request on the fast path, until its answer is written
    _begun_answers = 0  # on the fast path
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
        return self._answering is None and (self.cycle is None or self.cycle.response_complete)

    def _answer(self, request: FastRequest) -> None:
        """Answer a complete request of the fast path."""
        self._answering = request
        self._begun_answers += 1
        if (sending := request.handler(request)) is not None:
            self._turns.spend()
            task = self.loop.create_task(self._serve(request, sending))
            request.disconnected = task.cancel
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _start_next(self) -> None:
        """Start the first request of the pipeline when it is the connection's turn."""
        self._next = True
        self._take_turn(PIECE_BYTES)

    def _stop_sending(self) -> None:
        """Drop a request, or the rest of its answer, because the connection is lost."""
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
        """End a request if its answer is written, or go on with it."""
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
