"""The response to a call: header, messages and trailing fields with the status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_conv1d.service.grpc.transport.messages import encode
from sentiment_conv1d.service.grpc.transport.sender import Sender
from sentiment_conv1d.service.grpc.transport.stream import Head, Stream
from sentiment_conv1d.service.network.buffers import Buffers

Trailers = list[tuple[bytes, bytes]]

_HEAD = Head(200, [(b"content-type", b"application/grpc")])
_GZIP_HEAD = Head(200, [*_HEAD.fields, (b"grpc-encoding", b"gzip")])

#: Messages of up to this many bytes are not charged while they wait to be sent.
_SMALL = 16_384


@dataclass(slots=True, eq=False, repr=False)
class Response:
    """Sends the response of a stream, compressed if the client's `_accepted` encodings include gzip."""

    _stream: Stream
    _sender: Sender
    _buffers: Buffers
    _accepted: bytes
    _head_sent: bool = False

    async def send(self, messages: Sequence[bytes], trailers: Trailers | None = None) -> None:
        """Send messages, and end the response if `trailers` are given. Raises `ClientDisconnected`."""
        encoded = [await encode(message, self._accepted) for message in messages]
        data = encoded[0] if len(encoded) == 1 else b"".join(encoded)
        held = self._buffers.hold(len(data)) if len(data) > _SMALL else 0
        head = None
        if not self._head_sent:
            more = trailers is None and b"gzip" in self._accepted  # so that later messages can be compressed
            head = _GZIP_HEAD if more or data[0] else _HEAD
            self._head_sent = True
        try:
            await self._sender.send(self._stream, data, head=head, trailers=trailers)
        finally:
            self._buffers.release(held)

    def finish(self, trailers: Trailers) -> None:
        """End the response without a further message. Raises `ClientDisconnected`."""
        if self._head_sent:
            self._sender.finish(self._stream, trailers)
        else:
            self._sender.refuse(self._stream, Head(_HEAD.status, [*_HEAD.fields, *trailers]))
