"""What an attack is, and the servers that are attacked."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.processes import ServerProcess

#: The key of a server that asks for one; attackers have none.
KEY = "a-key-of-the-attacked-service"

#: Writes to a server, so many times as much as usual, and returns the bytes sent. Raises `AssertionError` if the server
#: did something wrong while it was attacked.
Attack = Callable[[ServerProcess, int], int]


class Setup(NamedTuple):
    """How a server is started."""

    flags: tuple[str, ...] = ("--workers", "1")
    key: str | None = None

    def start(self) -> ServerProcess:
        """A server of its own."""
        if self.key is None:
            return ServerProcess(*self.flags)
        return ServerProcess(*self.flags, SENTIMENT_API_KEYS=self.key)


#: Attackers are strangers without a key.
KEYED = Setup(key=KEY)

#: Attackers may call every method.
OPEN = Setup()


class Scenario(NamedTuple):
    """An attack on a server."""

    attack: Attack
    setup: Setup
    peak_megabytes: float  # of workers' memory beyond that of an idle one, while the attack goes on
    total: bool = False  # whether the peak is that of all processes, from nothing
    refusals: bool = False  # whether other callers may be refused meanwhile, as under any overload


#: Megabytes beyond an idle worker's memory that may stay.
LEFTOVER_MEGABYTES = 64

#: What `--max-buffered-bytes` allows all callers of a worker together, in megabytes.
BUFFERED_MEGABYTES = 256


class Scenarios(dict[str, Scenario]):
    """Attacks by the names of their functions."""

    def add(
        self,
        setup: Setup = KEYED,
        *,
        peak_megabytes: float = LEFTOVER_MEGABYTES,
        total: bool = False,
        refusals: bool = False,
    ) -> Callable[[Attack], Attack]:
        """Enter a function."""

        def enter(attack: Attack) -> Attack:
            self[attack.__name__] = Scenario(attack, setup, peak_megabytes, total, refusals)
            return attack

        return enter
