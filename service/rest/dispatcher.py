"""Finds the endpoint or document of a request, and answers the request without FastAPI.

There are two paths. The fast path is for small requests and for documents: it bypasses ASGI and needs no task, and the
work of all requests that arrive in the same turn of the event loop runs together. All other requests run as tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from functools import partial
from time import perf_counter_ns
from typing import Any

from starlette.types import Scope

from sentiment_conv1d.server.errors import ClientDisconnected, MethodNotAllowed, Overloaded, RequestError
from sentiment_conv1d.server.http.compression import decompress
from sentiment_conv1d.server.http.fast_path import FastRequest, Handler
from sentiment_conv1d.server.http.headers import content_length
from sentiment_conv1d.server.http.request import Answer, HttpRequest
from sentiment_conv1d.server.network.buffers import Charge
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest.endpoint import EndpointRequest, WorkOrAnswer
from sentiment_conv1d.service.rest.lifecycle import CLIENT_CLOSED_REQUEST, Lifecycle, complete, out_of_time, refuse
from sentiment_conv1d.service.rest.protocol import STRICT_TRANSPORT, Document, RestProtocol
from sentiment_conv1d.service.rest.routes import Match, Routes
from sentiment_conv1d.service.scheduling.dataplane import INLINE_CHARACTERS, STEPPED_CHARACTERS
from sentiment_conv1d.service.scheduling.refusals import RefusalCost
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.request_context import RequestContext

logger = logging.getLogger(__name__)

#: Headers on which the answer of a document depends, or with which a GET request has a body.
_VARYING = {b"if-none-match", b"if-modified-since", b"content-length", b"transfer-encoding"}

_REFUSAL_COST = RefusalCost(request=0.00005, byte=5e-9)


def has_encoded_slash(scope: Scope) -> bool:
    """Return whether the path has an encoded slash. Proxies may route it elsewhere than its decoded form."""
    return b"%2f" in scope["raw_path"].lower()


class Dispatcher:
    """Answers the requests for the endpoints of all protocols, and those for `documents`, by path."""

    def __init__(
        self,
        state: ServiceState,
        lifecycle: Lifecycle,
        protocols: tuple[RestProtocol, ...],
        documents: Mapping[str, tuple[Document, RestProtocol]],
    ) -> None:
        settings = state.settings
        self._state = state
        self._dataplane = state.dataplane
        self._lifecycle = lifecycle
        self._max_body_bytes, self._body_timeout = settings.max_body_bytes, settings.body_timeout
        self._largest = min(STEPPED_CHARACTERS, settings.max_body_bytes)
        self._secure = settings.tls_certificate is not None
        self._routes = Routes(protocols)
        self._documents: dict[bytes, Handler] = {
            path.encode(): partial(self._answer_document, *document) for path, document in documents.items()
        }

    def match(self, scope: Scope) -> Match | None:
        """Return the endpoint of a request, or None if FastAPI handles it, such as one for the page at the root."""
        is_page = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        return None if is_page or has_encoded_slash(scope) else self._routes.find(scope["path"])

    def find_document(self, target: bytes, fields: Mapping[bytes, bytes], charge: Charge) -> Handler | None:
        """Return the fast path's handler of a GET request, or None if its answer may depend on its headers."""
        return None if _VARYING & fields.keys() else self._documents.get(target)

    def find_handler(self, target: bytes, fields: Mapping[bytes, bytes], charge: Charge) -> Handler | None:
        """Return the fast path's handler of a request, or None if its body is large, compressed or of unknown size.

        If the request would be rejected, sets the refusal of its charge, so that its body is not kept.
        """
        match = self._routes.find_target(target)
        if match is None or b"content-encoding" in fields:
            return None
        length = content_length(fields)
        if length is None or length > self._largest:
            return None
        # Over ASGI, a request without access is refused before its body, and holds no memory for it.
        if length > INLINE_CHARACTERS and not self._state.access.admits(charge.caller):
            return None
        try:
            self._dataplane.expect(length, charge.caller, _REFUSAL_COST)
        except Overloaded as error:
            charge.refusal = error.with_traceback(None)  # its frames refer to the charge: a reference cycle
        return partial(self.start, match)

    def start(self, match: Match, request: FastRequest) -> Coroutine[Any, Any, None] | None:
        """Answer a complete request on the fast path: in the next turn of the event loop, with others of this turn.

        Returns a coroutine that answers it instead if it takes longer.
        """
        context = self._lifecycle.begin(request, match.endpoint.path)
        reply = partial(self._reply, match, request, context)
        with context:
            try:
                self._check(match, request)
                if request.charge.refusal is not None:
                    raise request.charge.refusal
                if request.size > INLINE_CHARACTERS:
                    # There may be no room any more.
                    self._dataplane.announce(request.size, context.caller, _REFUSAL_COST)
                    return self.serve(match, request, context)
                work = self._read(match, request, context, request.take_body())
                if isinstance(work, Work) and self._dataplane.start(work, reply):
                    request.disconnected = partial(self._dataplane.cancel, work)
                    return None
            except Exception as error:
                reply(error)
                return None
        return self.serve(match, request, context, work)

    async def serve(
        self, match: Match, request: HttpRequest, context: RequestContext, read: WorkOrAnswer | None = None
    ) -> None:
        """Answer a request in a task, and end it.

        `read` is what `_read` has returned, or None if the body, which may have to be received, was not read yet.
        """
        status = CLIENT_CLOSED_REQUEST
        with context:
            try:
                answer, answered = await self._answer(match, request, context, read)
                await request.send(answered, complete(answer, context), context.id)
                status = answered
            except ClientDisconnected:
                pass
            finally:
                self._lifecycle.end(status, request, context)

    async def _answer(
        self, match: Match, request: HttpRequest, context: RequestContext, read: WorkOrAnswer | None
    ) -> tuple[Answer, int]:
        """Return the answer or the error, and its status. Raises `ClientDisconnected`."""
        task = asyncio.current_task()
        self._lifecycle.unanswered.add(task)
        try:
            if read is None:
                self._check(match, request)
                read = await self._receive(match, request, context)
            if isinstance(read, Work):
                answer = await self._dataplane.run(read)
            else:
                answer = read if isinstance(read, Answer) else await read
            return self._outcome(match, request, context, answer)
        except ClientDisconnected:
            raise
        except asyncio.CancelledError:
            if not self._lifecycle.expired:
                raise
            return self._outcome(match, request, context, out_of_time())
        except Exception as error:  # no variable must keep it: its frames refer to the texts, in a reference cycle
            return self._outcome(match, request, context, error)
        finally:
            self._lifecycle.unanswered.discard(task)

    def _check(self, match: Match, request: HttpRequest) -> None:
        """Raise an error if the request has no access or the wrong method, or if the time for shutdown is over."""
        self._lifecycle.check_access(request, match.endpoint.path)
        if request.method != "POST":
            allowed = "GET, HEAD, POST" if match.endpoint.path == "/" else "POST"
            raise MethodNotAllowed(f"{request.target.decode()} takes {allowed}, not {request.method}", allowed)
        if self._lifecycle.expired:
            raise out_of_time()

    async def _receive(self, match: Match, request: HttpRequest, context: RequestContext) -> WorkOrAnswer:
        """Receive and read a request. A large one waits until it may be parsed."""
        body = await request.body(self._max_body_bytes, self._body_timeout)
        if (encoding := request.headers.get(b"content-encoding")) is not None:
            body = await decompress(body, encoding, self._max_body_bytes, request.charge, self._state.expanding)
        if len(body) <= INLINE_CHARACTERS:
            return self._read(match, request, context, body)
        with self._dataplane.parsing_large(len(body), context.caller):
            await self._dataplane.parsing.turn(len(body), context.caller)
            return self._read(match, request, context, body)

    def _read(self, match: Match, request: HttpRequest, context: RequestContext, body: bytes) -> WorkOrAnswer:
        context.received = perf_counter_ns()
        read = EndpointRequest(context, body, request.headers, match.parameters, request.charge)
        return match.endpoint.respond(self._state, read)

    def _reply(
        self,
        match: Match,
        request: FastRequest,
        context: RequestContext,
        result: Answer | BaseException,
    ) -> None:
        """Answer a request without a task."""
        status = CLIENT_CLOSED_REQUEST
        with context:
            if not isinstance(result, ClientDisconnected):
                answer, status = self._outcome(match, request, context, result)
                request.reply(status, complete(answer, context), context.id)
            self._lifecycle.end(status, request, context)

    def _outcome(
        self, match: Match, request: HttpRequest, context: RequestContext, result: Answer | BaseException
    ) -> tuple[Answer, int]:
        """Return the answer or the refusal of a request, and its status."""
        if isinstance(result, Answer):
            try:
                request.charge.add(len(result.body))
            except Overloaded as error:
                return refuse(match.protocol, error, context.id)
            return result, 200
        if isinstance(result, RequestError):
            return refuse(match.protocol, result, context.id)
        logger.error("%s failed", match.endpoint.path, exc_info=result)
        return refuse(match.protocol, RequestError("internal error"), context.id)

    def _answer_document(self, document: Document, protocol: RestProtocol, request: FastRequest) -> None:
        """Answer a GET request for a document."""
        context = self._lifecycle.begin(request, document.route)
        with context:
            try:
                self._lifecycle.check_access(request, request.target.decode())
                answer, status = document.read(self._state, request.headers), 200
                if self._secure:
                    answer = answer._replace(headers=(*answer.headers, STRICT_TRANSPORT))
            except RequestError as error:
                answer, status = refuse(protocol, error, context.id)
            except Exception:
                logger.exception("%s failed", document.route)
                answer, status = refuse(protocol, RequestError("internal error"), context.id)
            request.reply(status, complete(answer, context), context.id)
            self._lifecycle.end(status, request, context)
