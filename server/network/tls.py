"""TLS between a socket and its connection, with the limits on time and memory of connections without TLS.

uvloop's TLS has none of them: in one turn of the event loop, it does all handshakes and decrypts everything that has
arrived, and a connection can hold half a megabyte.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from time import perf_counter
from typing import Any

from sentiment_conv1d.server.network.receiver import PIECE, PIECE_BYTES
from sentiment_conv1d.server.network.turns import Turns

#: The most bytes that a client can send until the handshake is complete. OpenSSL would accept and keep 128 KiB.
_HANDSHAKE_BYTES = 32_768

#: Bytes that OpenSSL gets at a time. It handles all records without content among them at once: a client can fill them
#: with key updates, each of which takes 27 bytes and up to 25 microseconds.
_STEP_BYTES = 4096


class Plain(asyncio.Protocol):
    """A connection that receives decrypted bytes. For `admitted`, see `Reader`."""

    admitted: bool


class TlsTransport(asyncio.BufferedProtocol, asyncio.Transport):
    """The protocol of a socket, and the transport of the connection that uses it.

    The socket's transport calls the methods of `asyncio.BufferedProtocol`, and the connection those of
    `asyncio.Transport`. `Turns` calls those of `Reader`: every step of a handshake, and decryption, takes a turn of the
    connection.
    """

    def __init__(self, connection: Plain, context: ssl.SSLContext, turns: Turns) -> None:
        super().__init__()
        self._connection = connection
        self._turns = turns
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._handshake: asyncio.Future[bool] = asyncio.get_running_loop().create_future()  # whether it has succeeded
        self._handshake_bytes = 0
        self._received = b""  # bytes that OpenSSL has not got yet
        self._secure = False  # whether the handshake has succeeded, and the connection is made
        self._waiting = False  # whether it waits for its turn, or has it
        self._paused = False  # whether the connection does not read
        self._unread = False  # whether the client does not read
        self._ended = False  # whether nothing more is sent

    async def handshake(self, seconds: float) -> None:
        """Wait until the handshake is complete and the connection is made. Raises `OSError` if it fails."""
        try:
            async with asyncio.timeout(seconds):
                if not await self._handshake:
                    raise ConnectionError("the handshake has failed")
        except BaseException:
            self._socket.close()
            raise

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the client to begin the handshake."""
        self._socket = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the memory for the next piece."""
        return PIECE

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt a piece, now or when it is this connection's turn."""
        if self._ended:
            return
        self._received += PIECE[:nbytes]
        self._handshake_bytes += 0 if self._secure else nbytes
        if self._turns.read_or_wait(self, nbytes):
            self._waiting = True
            self._socket.pause_reading()

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read, because it can request new keys, which have to be sent."""
        self._unread = True
        self._socket.pause_reading()
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Resume reading and sending."""
        self._unread = False
        self._resume()
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the connection, or that the handshake has failed."""
        if self._secure:
            self._connection.connection_lost(exc)
        self._end_handshake(succeeded=False)
        del self._connection  # a reference cycle

    @property
    def admitted(self) -> bool:
        """Whether an earlier request of the connection had access."""
        return self._connection.admitted

    def read(self, until: float) -> bool:
        """Continue the handshake, or decrypt, until `until`. Returns whether there is more to do."""
        self._waiting = True
        try:
            more = not self._socket.is_closing() and self._advance(until)
        except ssl.SSLError:
            self._flush()  # OpenSSL's alert
            self._end_handshake(succeeded=False)
            self._socket.close()
            return False
        self._flush()
        self._waiting = more
        if not more:
            self._resume()
        return more

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known about the client. `encrypted` are the bytes that have not been decrypted."""
        match name:
            case "sslcontext":
                return self._tls.context
            case "peercert":
                return self._tls.getpeercert()
            case "encrypted":
                return self._encrypted
        return self._socket.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._socket.is_closing()

    def close(self) -> None:
        self._end()
        self._socket.close()

    def abort(self) -> None:
        self._socket.abort()

    def pause_reading(self) -> None:
        self._paused = True
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        self._resume()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send bytes, in pieces that limit the memory that OpenSSL keeps."""
        if self._ended or self._socket.is_closing():
            return
        rest = memoryview(data)
        while rest:
            self._tls.write(rest[:PIECE_BYTES])
            self._flush()
            rest = rest[PIECE_BYTES:]

    def write_eof(self) -> None:
        """Say that nothing more is sent. What still arrives is discarded without decryption."""
        self._end()
        self._socket.write_eof()
        self._socket.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._socket.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._socket.get_write_buffer_size()

    @property
    def _encrypted(self) -> int:
        return len(self._received) + self._incoming.pending + self._tls.pending()

    @property
    def _reading(self) -> bool:
        return not (self._paused or self._unread or self._ended or self._socket.is_closing())

    def _resume(self) -> None:
        """Read on, unless something prevents it, or it has a turn anyway."""
        if self._waiting or not self._reading:
            return
        if self._encrypted:
            self._waiting = True
            self._turns.wait(self)
        else:
            self._socket.resume_reading()

    def _advance(self, until: float) -> bool:
        """Like `read`. Raises `ssl.SSLError`."""
        while self._encrypted and self._reading:
            with suppress(ssl.SSLWantReadError):  # the rest of a record has not arrived
                if self._secure:
                    self._decrypt(until)
                else:
                    self._shake_hands()
            if perf_counter() >= until:
                return self._encrypted > 0 and self._reading
        return False

    def _shake_hands(self) -> None:
        """Take a step of the handshake. Raises `ssl.SSLError`."""
        if self._handshake_bytes > _HANDSHAKE_BYTES:
            raise ssl.SSLError("the handshake has too many bytes")
        self._feed()
        self._tls.do_handshake()
        self._secure = True
        self._end_handshake(succeeded=True)
        self._connection.connection_made(self)

    def _feed(self) -> None:
        """Pass on the next bytes if OpenSSL has none."""
        if not self._incoming.pending:
            self._incoming.write(self._received[:_STEP_BYTES])
            self._received = self._received[_STEP_BYTES:]

    def _decrypt(self, until: float) -> None:
        """Decrypt up to `PIECE_BYTES`, and pass them on. Raises `ssl.SSLError`."""
        pieces: list[bytes] = []
        room, left = PIECE_BYTES, False
        try:
            while self._encrypted and room and not left and (not pieces or perf_counter() < until):
                self._feed()
                piece = self._tls.read(room)
                pieces.append(piece)
                room -= len(piece)
                left = not piece  # the client sends nothing more
        finally:
            if content := b"".join(pieces):
                self._connection.data_received(content)
            if left:
                self.close()

    def _end(self) -> None:
        if not (self._ended or self._socket.is_closing()):
            self._ended = True
            with suppress(ssl.SSLError):  # the client has not said so, or has sent more
                self._tls.unwrap()
            self._flush()

    def _end_handshake(self, *, succeeded: bool) -> None:
        if not self._handshake.done():
            self._handshake.set_result(succeeded)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._socket.write(self._outgoing.read())
