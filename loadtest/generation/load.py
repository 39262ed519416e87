"""What one step of a test asks of the generators, and what they found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Load:
    """One step: an open loop at `rate`, whatever the answers do, or a closed one of `callers` who wait for theirs."""

    traffic: str
    seconds: float
    rate: float | None = None  # requests a second
    callers: int | None = None
    poisson: bool = False  # arrivals by chance rather than at even distances
    warmup: float = 0.5  # seconds before, of the same load, that are not counted
    timeout: float = 10.0  # seconds after which an answer does not count as one
    connections: int = 32  # opened before the start; in an open loop there are more when they are needed
    max_connections: int = 1024
    max_requests: int = 2_000_000

    @property
    def open(self) -> bool:
        """Whether requests are sent on a schedule."""
        return self.rate is not None


@dataclass
class Found:
    """What happened, request by request, in one process or in several together."""

    seconds: float  # that were counted
    due: Floats  # when each was to be sent, in seconds after the start
    latency: Floats  # seconds from then to its end
    texts: Integers  # of each request
    form: Integers  # index in `forms`
    outcome: Integers  # index in `outcomes`
    lag: Floats  # seconds by which the generator was late to turn to a request that was due
    forms: list[str]
    outcomes: list[str]
    cpu: list[float] = field(default_factory=list)  # share of one processor that each process took
    connections: int = 0
    interrupted: bool = False


def merge(parts: list[Found]) -> Found:
    """What several processes found in one step."""
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
