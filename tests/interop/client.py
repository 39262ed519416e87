"""Runs a client of another gRPC implementation in a separate process.

A client is `PROGRAM ADDRESS DESCRIPTORS [AUTHORITY]`. It has one channel to ADDRESS, reads the messages from a file
with a `FileDescriptorSet`, uses TLS if it gets an authority's certificate (except in Java), and ends when stdin ends.
A line of stdin starts a call:

    {"id": 1, "method": "sentiment.v1.Sentiment/Predict", "requests": [{"text": "…"}]}

Messages have protobuf's JSON form. A call can have more fields: `metadata` by name, in base64 if the name ends with
`-bin`; `timeout_ms`, its deadline; `gzip`, which compresses its requests; `keep_open`, which leaves the stream of its
requests open; and `path`, if it differs from the method's. `{"id": 1, "cancel": true}` cancels a call. A line of stdout
is one answer, or the end of a call:

    {"id": 1, "answer": {"label": "positive", …}}
    {"id": 1, "code": 0, "message": "", "trailers": {"x-request-id": "…"}}

If its library exposes it, a client adds `encoding`, the compression of the answers: `identity` or `gzip`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Self

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass

from tests.processes import PATIENCE, PROJECT

#: A message in protobuf's JSON form.
Document = dict[str, Any]


class Messages:
    """The types of all methods."""

    def __init__(self, descriptors: Path) -> None:
        self.descriptors = descriptors
        self._pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            self._pool.Add(file)

    def answer(self, method: str, document: Document) -> Document:
        """Convert an answer to a document with all fields, so that equal messages are equal documents."""
        message = GetMessageClass(self._pool.FindMethodByName(method.replace("/", ".")).output_type)()
        return MessageToDict(
            ParseDict(document, message), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )


class End(NamedTuple):
    """The end of a call."""

    code: int
    message: str
    trailers: Mapping[str, str]
    encoding: str | None  # of the answers; None if the client's library does not expose it


class Call:
    """A call in progress."""

    def __init__(self, client: Client, identity: int, method: str) -> None:
        self._client = client
        self._identity = identity
        self._method = method
        self._events: SimpleQueue[Document] = SimpleQueue()

    def happened(self, event: Document) -> None:
        """Handle a line from the client."""
        self._events.put(event)

    def cancel(self) -> None:
        """Let the client cancel the call."""
        self._client.send({"id": self._identity, "cancel": True})

    def next(self) -> Document | End:
        """Return the next answer, or the end of the call."""
        event = self._events.get(timeout=PATIENCE)
        if "answer" in event:
            return self._client.messages.answer(self._method, event["answer"])
        return End(event["code"], event.get("message") or "", event["trailers"], event.get("encoding"))

    def answer(self) -> Document:
        """Return the next answer. The call must not have ended."""
        event = self.next()
        assert not isinstance(event, End), event
        return event

    def end(self) -> End:
        """Return the end of the call. There must be no further answer."""
        event = self.next()
        assert isinstance(event, End), event
        return event

    def result(self) -> tuple[list[Document], End]:
        """Return all answers and the end of the call."""
        answers: list[Document] = []
        while not isinstance(event := self.next(), End):
            answers.append(event)
        return answers, event


class Client:
    """A running client."""

    def __init__(self, command: Sequence[str | Path], address: str, messages: Messages, *authority: Path) -> None:
        self.messages = messages
        self._identities = itertools.count()
        self._calls: dict[int, Call] = {}
        self._process = subprocess.Popen(
            [*command, address, messages.descriptors, *authority],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            status = self._process.wait(PATIENCE)
            assert kind is not None or status == 0, f"exit status {status}"
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join(PATIENCE)

    def start(self, method: str, *requests: Document, **options: Any) -> Call:
        """Start a call of `package.Service/Method`."""
        identity = next(self._identities)
        call = self._calls[identity] = Call(self, identity, method)
        self.send({"id": identity, "method": method, "requests": requests, **options})
        return call

    def call(self, method: str, request: Document, **options: Any) -> Document:
        """Make a unary call that must succeed."""
        answers, end = self.start(method, request, **options).result()
        assert end.code == 0 and len(answers) == 1, end
        return answers[0]

    def refused(self, method: str, request: Document, **options: Any) -> End:
        """Make a call that must fail."""
        return self.start(method, request, **options).end()

    def send(self, command: Document) -> None:
        """Send the client a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                event = json.loads(line)
                self._calls[event["id"]].happened(event)
        for call in list(self._calls.values()):
            call.happened({"code": -1, "message": "the client has ended", "trailers": {}})
