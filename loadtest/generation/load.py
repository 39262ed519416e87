"""The load of one step, and what the generators recorded."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sending:
    """How requests are sent in every step of a test."""

    traffic: str = "rest"
    seconds: float = 4.0
    poisson: bool = False  # random instead of evenly spaced arrivals
    connections: int = 32  # opened before the start; an open loop opens more if needed
    max_connections: int = 1024
    timeout: float = 10.0  # seconds until a request without a response has failed
    max_requests: int = 2_000_000


@dataclass(frozen=True)
class Load(Sending):
    """One step: an open loop at `rate`, or a closed loop of `callers`, each of which waits for its response."""

    rate: float | None = None  # requests per second
    callers: int | None = None
    warmup: float = 0.5  # seconds of the same load before the start, which do not count

    @property
    def open(self) -> bool:
        """Whether requests are sent on a schedule."""
        return self.rate is not None


@dataclass
class Found:
    """The results of every request, from one process or from several."""

    seconds: float  # the duration that counts
    due: Floats  # when each request was due, in seconds from the start
    latency: Floats  # seconds from then until the request finished
    texts: Integers  # number of texts of each request
    form: Integers  # index in `forms`
    outcome: Integers  # index in `outcomes`
    lag: Floats  # seconds by which each request was sent late
    forms: list[str]
    outcomes: list[str]
    cpu: list[float] = field(default_factory=list)  # share of a processor that each process used
    connections: int = 0
    interrupted: bool = False


def merge(parts: list[Found]) -> Found:
    """Merge the results of several processes for one step."""
    forms = sorted({name for part in parts for name in part.forms})
    outcomes = sorted({name for part in parts for name in part.outcomes})

    def renumbered(values: Integers, names: list[str], all_names: list[str]) -> Integers:
        return np.array([all_names.index(name) for name in names], np.int64)[values]

    return Found(
        seconds=min(part.seconds for part in parts),
        due=np.concatenate([part.due for part in parts]),
        latency=np.concatenate([part.latency for part in parts]),
        texts=np.concatenate([part.texts for part in parts]),
        form=np.concatenate([renumbered(part.form, part.forms, forms) for part in parts]),
        outcome=np.concatenate([renumbered(part.outcome, part.outcomes, outcomes) for part in parts]),
        lag=np.concatenate([part.lag for part in parts]),
        forms=forms,
        outcomes=outcomes,
        cpu=[share for part in parts for share in part.cpu],
        connections=sum(part.connections for part in parts),
        interrupted=any(part.interrupted for part in parts),
    )
