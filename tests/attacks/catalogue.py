"""Every attack by its name."""

from tests.attacks import http1, http2, load

SCENARIOS = {**http1.SCENARIOS, **http2.SCENARIOS, **load.SCENARIOS}
