"""Every attack by its name."""

from tests.attacks import flood, http1, http2, load, places, tls
from tests.attacks.scenarios import Scenario

SCENARIOS: dict[str, Scenario] = {
    **flood.SCENARIOS,
    **http1.SCENARIOS,
    **http2.SCENARIOS,
    **load.SCENARIOS,
    **places.SCENARIOS,
    **tls.SCENARIOS,
}
