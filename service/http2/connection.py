"""One connection: frames come in, streams are opened, and what they answer goes out within the windows of flow control.

Source: RFC 9113. Priorities are read and mean nothing (section 5.3.2), nothing is pushed, and there is no upgrade from
HTTP/1.1: a client knows what it speaks to, or asks for it in the TLS handshake.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from service.http2 import frames
from service.http2.fields import NO_TABLE, Decoder, Head
from service.http2.frames import ConnectionFault, Fault, Kind, Setting, StreamFault
from service.http2.stream import CallerGone, Stream

#: The most that one block of header fields may take, in one frame or in several.
_MAX_BLOCK_BYTES = 32_768
_MAX_BLOCK_FRAMES = 16

#: Bytes that a caller may send on a stream, and on all of them, before it has to wait for leave to send more.
STREAM_WINDOW = 262_144
CONNECTION_WINDOW = 1_048_576

#: Frames that are read in one turn of the event loop, so that others get theirs. A block of fields counts as one more
#: for so many bytes, each of which may be a field.
_MAX_FRAMES = 2048
_BLOCK_BYTES = 16

#: Frames that make work and get nothing done, such as the end of a stream that has just begun: so many may come at
#: once beside one for every stream that there may be, whose deadlines may pass together; and so many more every second.
_MAX_NUISANCES = 1000
_FORGIVEN = 100

#: Seconds that have to be between two pings, but for those after an answer: clients measure the line with them. So many
#: too early are a nuisance (as gRPC has it, in its document on client-side keepalive).
_PING_SECONDS = 10.0
_MAX_PING_STRIKES = 2

#: What our own pings say, and the one after which no request can be on the way any more.
_ALIVE = b"alive?\0\0"
_LAST = b"the last"

#: Seconds to wait for its answer.
_LEAVE_SECONDS = 1.0

_WRONG_PROTOCOL = b"this port speaks HTTP/2 alone, and gRPC on it\n"
_HTTP1_REFUSAL = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\n"
    b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
) % (len(_WRONG_PROTOCOL), _WRONG_PROTOCOL)
_HTTP1 = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC")


class Limits(NamedTuple):
    """What a caller may take."""

    streams: int  # at once
    head_bytes: int  # of a request's fields; told to the caller, and for the application to hold against it
    handshake_seconds: float  # to say that it speaks HTTP/2
    idle_seconds: float  # without a stream
    age_seconds: float  # until it is asked to come again, and once more that long for what runs then
    write_seconds: float  # in which it must read something of what waits for it, and answer a ping


class Connection(asyncio.Protocol):
    """Calls `opened` for every request; the stream that it returns hears of what else arrives.

    `watch` has to be called every second or so. A caller who closes its half of the connection is gone, since it could
    open no window and answer no ping.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        opened: Callable[[Connection, int, Head], Stream],
        closed: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._opened = opened
        self._closed = closed
        self._decoder = Decoder()
        self._streams: dict[int, Stream] = {}
        self._rest = b""
        self._frames = 0  # that were read in this turn
        self._resting = False  # until the next turn
        self._greeted = False  # by the preface
        self._ready = False  # the first settings are here
        self._block: _Block | None = None  # whose end has not come yet
        self._last = 0  # the latest stream that was opened
        self._taking = True  # streams, until the caller has been told which was the last
        self._told_to_leave: float | None = None
        self._left = False  # by the caller
        self._nuisances = 0
        self._last_ping = -_PING_SECONDS
        self.ping_strikes = 0  # since something was last sent
        self._credit = 0  # bytes that have arrived since the caller was last allowed more
        self._receive_window = frames.INITIAL_WINDOW
        self.send_window = frames.INITIAL_WINDOW
        self.max_payload = frames.MAX_PAYLOAD
        self._initial_window = frames.INITIAL_WINDOW  # of a stream that is opened
        self.paused = False
        self._queue: OrderedDict[Stream, None] = OrderedDict()  # of those who may send as soon as the connection can
        self._written = self._read_by_caller = 0  # bytes
        self._born = self._heard = self._busy = self._moved = 0.0  # when, on the event loop's clock
        self._table = NO_TABLE  # to be said once, in front of the first block of fields

    # What the event loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the caller to say what it speaks."""
        self.transport = transport
        self._born = self._heard = self._busy = self._moved = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cut every stream."""
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.was_cut()
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        """Read the frames that are complete."""
        self._heard = self._loop.time()
        if self._rest:
            data = self._rest + data
        if self._resting:
            self._rest = data
        else:
            self._read_some(data)

    def pause_writing(self) -> None:
        """Read no more of a caller who does not read."""
        self.paused = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        self._heard = self._loop.time()  # nobody listened until now
        self._listen()
        self.pass_on()

    # What the server calls.

    def watch(self, now: float) -> None:
        """Leave a caller who does not go on. `now` is the event loop's time."""
        limits = self._limits
        self._nuisances = max(0, self._nuisances - _FORGIVEN)
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or self._written - unread > self._read_by_caller:
            self._read_by_caller, self._moved = self._written - unread, now
        if self._streams:
            self._busy = now
        if self.transport.is_closing():
            if now - self._moved > limits.write_seconds:
                self.transport.abort()
        elif not self._ready:
            if now - self._born > limits.handshake_seconds:
                self.transport.abort()
        elif now - self._moved > limits.write_seconds:
            self.transport.abort()
        else:
            self._watch_age(now)
            if not self.paused:
                self._watch_silence(now)
        for stream in list(self._streams.values()):
            stream.watch(now)

    def leave(self) -> None:
        """Ask the caller to come again on another connection; what it has asked for on this one is answered.

        It is told twice: what it sends before it hears of it is answered as well.
        """
        if self._told_to_leave is None:
            self._told_to_leave = self._loop.time()
            if not self._ready:
                self.transport.close()
                return
            self.write(frames.go_away(frames.LARGEST_STREAM, Fault.NO_ERROR) + frames.frame(Kind.PING, 0, 0, _LAST))

    def fail(self, fault: Fault, reason: str) -> None:
        """Give the connection up."""
        self._rest = b""
        if not self.transport.is_closing():
            self.write(frames.go_away(self._last, fault, reason))
            self.transport.close()

    # What the streams call.

    def write(self, data: bytes) -> None:
        """Send frames."""
        if not self.transport.is_closing():
            self._written += len(data)
            self.transport.write(data)

    def head(self, stream: int, block: bytes, *, ended: bool = False) -> bytes:
        """The frame of a block of fields, which must have no more than `frames.MAX_PAYLOAD` bytes."""
        if self._table:
            block, self._table = self._table + block, b""
        flags = frames.END_HEADERS | frames.END_STREAM if ended else frames.END_HEADERS
        return frames.frame(Kind.HEADERS, flags, stream, block)

    async def capacity(self, stream: Stream) -> int:
        """How many bytes the stream may send now, once that is more than none. Raises `CallerGone`."""
        until = self._loop.time() + self._limits.write_seconds
        while not stream.cut:
            if stream.send_window > 0:
                if self._has_room():
                    return min(stream.send_window, self.send_window, self.max_payload)
                self._queue[stream] = None
            else:
                self.pass_on()
            try:
                async with asyncio.timeout_at(until):
                    await stream.wait(self._loop)
            except TimeoutError:
                stream.reset(Fault.CANCEL)
            finally:
                self._queue.pop(stream, None)
        raise CallerGone

    def pass_on(self) -> None:
        """Let the next stream send that waits for the connection. Whoever has waited calls it when it has sent.

        One at a time, since a caller may open the window by a byte with a thousand streams waiting.
        """
        while self._queue and self._has_room():
            stream, _ = self._queue.popitem(last=False)
            if stream.wake():
                return

    def forget(self, stream: Stream) -> None:
        """A stream has ended on both sides."""
        self._streams.pop(stream.id, None)
        if self._nuisances and stream.answered:
            self._nuisances -= 1  # who also gets something done may give up some calls
        self._close_if_done()

    # What arrives.

    def _read_some(self, data: bytes) -> None:
        """Read as many frames as one turn has room for, and the others in the next one."""
        self._frames = 0
        try:
            self._rest = data[self._read(data) :]
        except ConnectionFault as error:
            self.fail(error.fault, error.reason)
        else:
            if self._frames > _MAX_FRAMES and not self.transport.is_closing():
                self._resting = True
                self.transport.pause_reading()
                self._loop.call_soon(self._rested)

    def _rested(self) -> None:
        self._resting = False
        if not self.transport.is_closing():
            self._read_some(self._rest)
            self._listen()

    def _listen(self) -> None:
        if not (self.paused or self._resting or self.transport.is_closing()):
            self.transport.resume_reading()

    def _read(self, data: bytes) -> int:
        """Read the frames of `data` that are complete, if they are not too many; returns their bytes."""
        position, size = 0, len(data)
        if not self._greeted:
            if not data.startswith(frames.PREFACE):
                self._check_preface(data)
                return 0
            self._greet()
            position = len(frames.PREFACE)
        while size - position >= frames.HEAD_BYTES and self._frames <= _MAX_FRAMES:
            if self.transport.is_closing():
                return size
            high, low, kind, flags, stream = frames.HEAD.unpack_from(data, position)
            start = position + frames.HEAD_BYTES
            position = start + (high << 16 | low)
            if position - start > frames.MAX_PAYLOAD:
                raise ConnectionFault(Fault.FRAME_SIZE_ERROR, f"a frame has more than {frames.MAX_PAYLOAD} bytes")
            if position > size:
                return start - frames.HEAD_BYTES
            self._frames += 1
            self._take(kind, flags, stream & frames.STREAM, data[start:position])
        return position

    def _greet(self) -> None:
        """Say what may be sent. Not before: one who speaks something else could not read the refusal after it."""
        self._greeted = True
        values = {
            Setting.MAX_CONCURRENT_STREAMS: self._limits.streams,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: self._limits.head_bytes,
        }
        more = CONNECTION_WINDOW - self._receive_window
        self._receive_window = CONNECTION_WINDOW
        self.write(frames.settings(values) + frames.window_update(0, more))

    def _check_preface(self, data: bytes) -> None:
        if data.startswith(_HTTP1):
            self.write(_HTTP1_REFUSAL)
            self.transport.close()
        elif not frames.PREFACE.startswith(data):
            self.fail(Fault.PROTOCOL_ERROR, "this is not HTTP/2")

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if not self._ready and kind != Kind.SETTINGS:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        if self._block is not None and kind != Kind.CONTINUATION:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "a block of header fields is not complete")
        try:
            match kind:
                case Kind.HEADERS:
                    self._take_headers(flags, stream, payload)
                case Kind.DATA:
                    self._take_data(flags, stream, payload)
                case Kind.WINDOW_UPDATE:
                    self._take_window_update(stream, payload)
                case Kind.PING:
                    self._take_ping(flags, stream, payload)
                case Kind.SETTINGS:
                    self._take_settings(flags, stream, payload)
                case Kind.RST_STREAM:
                    self._take_reset(stream, payload)
                case Kind.CONTINUATION:
                    self._take_continuation(flags, stream, payload)
                case Kind.GOAWAY:
                    self._take_go_away(stream, payload)
                case Kind.PRIORITY:
                    self._take_priority(stream, payload)
                case Kind.PUSH_PROMISE:
                    raise ConnectionFault(Fault.PROTOCOL_ERROR, "a client pushes nothing")
        except StreamFault as error:
            self._count_nuisance()
            if (broken := self._streams.get(stream)) is not None:
                broken.reset(error.fault)
                broken.lost()
            else:
                self.write(frames.reset(stream, error.fault))

    def _take_headers(self, flags: int, stream: int, payload: bytes) -> None:
        self._check_stream(stream)
        payload = frames.without_padding(flags, payload)
        if flags & frames.PRIORITIZED:
            if len(payload) < 5:
                raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "a priority has five bytes")
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._take_block(stream, payload, ended=bool(flags & frames.END_STREAM))
        else:
            self._block = _Block(stream, [payload], ended=bool(flags & frames.END_STREAM))

    def _take_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        block = self._block
        if block is None or block.stream != stream:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "CONTINUATION continues nothing")
        block.pieces.append(payload)
        if len(block.pieces) > _MAX_BLOCK_FRAMES or sum(map(len, block.pieces)) > _MAX_BLOCK_BYTES:
            raise ConnectionFault(Fault.ENHANCE_YOUR_CALM, "a block of header fields is too large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._take_block(stream, b"".join(block.pieces), ended=block.ended)

    def _take_block(self, number: int, block: bytes, *, ended: bool) -> None:
        self._frames += len(block) // _BLOCK_BYTES
        if number % 2 == 0:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "streams of clients have odd numbers")
        if number <= self._last:
            self._take_trailers(number, block, ended=ended)
            return
        if not self._taking:
            self._decoder.skip(block)
            return
        head = self._decoder.decode(block)
        self._last, self._busy = number, self._heard
        if head is None or (ended and head.length):
            raise StreamFault(Fault.PROTOCOL_ERROR)
        if len(self._streams) >= self._limits.streams:
            raise StreamFault(Fault.REFUSED_STREAM)
        stream = self._opened(self, number, head)
        stream.send_window = self._initial_window
        stream.receive_window = STREAM_WINDOW
        stream.missing = head.length
        self._streams[number] = stream
        stream.begin(ended)

    def _take_trailers(self, number: int, block: bytes, *, ended: bool) -> None:
        """Fields after the data, which mean nothing here but that it has ended."""
        allowed = self._decoder.skip(block)
        stream = self._streams.get(number)
        if stream is None:
            self._count_nuisance()  # they were on the way when the stream ended
        elif stream.ended:
            raise StreamFault(Fault.STREAM_CLOSED)
        elif not (ended and allowed) or stream.missing:
            raise StreamFault(Fault.PROTOCOL_ERROR)
        else:
            stream.take(b"", ended=True)

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        self._check_stream(number)
        size = len(payload)
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionFault(Fault.FLOW_CONTROL_ERROR, "there is more data than the window allows")
        # The streams' own windows bound what waits; all of them together need no further bound.
        self._credit += size
        if self._credit > CONNECTION_WINDOW // 2:
            self.write(frames.window_update(0, self._credit))
            self._receive_window += self._credit
            self._credit = 0
        ended = bool(flags & frames.END_STREAM)
        stream = self._streams.get(number)
        if stream is None:  # it was on the way when the stream ended, which may be much for each that was refused
            if number > self._last and self._taking:
                raise ConnectionFault(Fault.PROTOCOL_ERROR, "there is data for a stream that was not opened")
            return
        if stream.ended:
            raise StreamFault(Fault.STREAM_CLOSED)
        stream.receive_window -= size
        if stream.receive_window < 0:
            raise StreamFault(Fault.FLOW_CONTROL_ERROR)
        data = frames.without_padding(flags, payload) if flags & frames.PADDED else payload
        if len(data) < size:
            stream.allow(size - len(data))
        if stream.missing is not None:
            stream.missing -= len(data)
            if stream.missing < 0 or (ended and stream.missing):
                raise StreamFault(Fault.PROTOCOL_ERROR)
        if not data and not ended:
            self._count_nuisance()
        stream.take(data, ended=ended)

    def _take_window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        increment = int.from_bytes(payload) & frames.STREAM
        if number == 0:
            if increment == 0:
                raise ConnectionFault(Fault.PROTOCOL_ERROR, "a window grows by nothing")
            self.send_window += increment
            if self.send_window > frames.LARGEST_WINDOW:
                raise ConnectionFault(Fault.FLOW_CONTROL_ERROR, "the window is too large")
            self.pass_on()
        else:
            stream = self._streams.get(number)
            if stream is None:
                if number > self._last and self._taking:
                    raise ConnectionFault(Fault.PROTOCOL_ERROR, "there is a window for a stream that was not opened")
                return
            if increment == 0:
                raise StreamFault(Fault.PROTOCOL_ERROR)
            stream.send_window += increment
            if stream.send_window > frames.LARGEST_WINDOW:
                raise StreamFault(Fault.FLOW_CONTROL_ERROR)
            stream.wake()

    def _take_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "PING is of no stream")
        if len(payload) != 8:
            raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "PING has eight bytes")
        if flags & frames.ACK:
            if payload == _LAST and self._told_to_leave is not None:
                self._take_no_more()
            return
        if self._heard - self._last_ping < _PING_SECONDS:
            self.ping_strikes += 1
            if self.ping_strikes > _MAX_PING_STRIKES:
                raise ConnectionFault(Fault.ENHANCE_YOUR_CALM, "too_many_pings")
        self._last_ping = self._heard
        self.write(frames.frame(Kind.PING, frames.ACK, 0, payload))

    def _take_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "SETTINGS are of no stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "an acknowledgement of settings has no content")
            if not self._ready:
                raise ConnectionFault(Fault.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            return
        values = frames.read_settings(payload)
        if self._ready:
            self._count_nuisance()
        self._ready = True
        self.max_payload = min(values.get(Setting.MAX_FRAME_SIZE, self.max_payload), 65_536)
        initial = values.get(Setting.INITIAL_WINDOW_SIZE, self._initial_window)
        for each in self._streams.values():
            each.send_window += initial - self._initial_window
            if each.send_window > frames.LARGEST_WINDOW:
                raise ConnectionFault(Fault.FLOW_CONTROL_ERROR, "the window is too large")
            each.wake()
        self._initial_window = initial
        self.write(frames.frame(Kind.SETTINGS, frames.ACK, 0))

    def _take_reset(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        if number == 0 or (number > self._last and self._taking):
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "there is an end of a stream that was not opened")
        stream = self._streams.get(number)
        # Who has heard enough of an answer gives nothing up.
        if stream is None or not stream.answering:
            self._count_nuisance()
        if stream is not None:
            del self._streams[number]
            stream.was_cut()
            self._close_if_done()

    def _take_go_away(self, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "GOAWAY is of no stream")
        if len(payload) < 8:
            raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "GOAWAY has eight bytes or more")
        self._left = True
        self._close_if_done()

    def _take_priority(self, stream: int, payload: bytes) -> None:
        self._check_stream(stream)
        if len(payload) != 5:
            raise StreamFault(Fault.FRAME_SIZE_ERROR)
        self._count_nuisance()

    # The rest.

    def _check_stream(self, number: int) -> None:
        if number == 0:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "the frame is of no stream")

    def _count_nuisance(self) -> None:
        self._nuisances += 1
        if self._nuisances > _MAX_NUISANCES + self._limits.streams:
            raise ConnectionFault(Fault.ENHANCE_YOUR_CALM, "there are too many frames that get nothing done")

    def _take_no_more(self) -> None:
        """Say which stream was the last, after the caller has had the time to hear of it."""
        if self._taking:
            self._taking = False
            self.write(frames.go_away(self._last, Fault.NO_ERROR))
            self._close_if_done()

    def _close_if_done(self) -> None:
        if not self._streams and (self._left or not self._taking):
            self.transport.close()

    def _has_room(self) -> bool:
        """Whether data may be sent on a stream with a window."""
        return self.send_window > 0 and not self.paused

    def _watch_age(self, now: float) -> None:
        limits = self._limits
        if self._told_to_leave is not None:
            if now - self._told_to_leave > _LEAVE_SECONDS:
                self._take_no_more()
            if now - self._told_to_leave > limits.age_seconds:
                self.transport.abort()
        elif now - self._born > limits.age_seconds or now - self._busy > limits.idle_seconds:
            self.leave()

    def _watch_silence(self, now: float) -> None:
        silence = now - self._heard
        if silence > 2 * self._limits.write_seconds:
            self.transport.abort()
        elif silence > self._limits.write_seconds:
            self.write(frames.frame(Kind.PING, 0, 0, _ALIVE))


class _Block(NamedTuple):
    stream: int
    pieces: list[bytes]
    ended: bool
