"""One HTTP/2 stream: a request and its response."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False, repr=False)
class Stream:
    """The interface between a connection and one of its streams. By default, a stream ignores its request."""

    id: int
    ended: bool = field(default=False, init=False)  # whether the request is complete
    cut: bool = field(default=False, init=False)  # whether nothing more can be sent
    blocked: asyncio.Future[None] | None = field(default=None, init=False)  # done when more can be sent

    def wake(self) -> None:
        """Resume a response that waits to send."""
        if self.blocked is not None and not self.blocked.done():
            self.blocked.set_result(None)

    @property
    def parked(self) -> bool:
        """Whether the stream is idle until the client sends something or the server's state changes."""
        return True

    @property
    def overdue(self) -> bool:
        """Whether the client's deadline has passed."""
        return False

    def opened(self) -> None:
        """Handle a complete header; `ended` is true if no content follows."""

    def received(self, data: bytes) -> None:
        """Handle content; `ended` is true if no more content follows."""

    def lost(self) -> None:
        """Stop: the client has reset the stream, or the connection is lost."""

    def enforce_timeouts(self, now: float) -> None:
        """Enforce time limits. Called about once a second with the event loop's time."""
