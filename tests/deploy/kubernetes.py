"""What the tests of Kubernetes' manifests share."""

from __future__ import annotations

import re
from typing import Any

from tests.processes import PROJECT

#: The oldest release with all used fields, and the newest release with schemas.
RELEASES = ("1.29", "1.37")

#: The oldest release with image volumes.
IMAGE_VOLUMES = "1.31"

Manifest = dict[str, Any]

#: The settings of the container image, which every container inherits.
IMAGE: dict[str, str] = dict(re.findall(r"\b(SENTIMENT_\w+)=(\S+)", (PROJECT / "Dockerfile").read_text()))


def environment(container: Manifest) -> dict[str, str]:
    """Return the variables of a container. Values that Kubernetes fills in are read from the manifest."""
    limits = {f"limits.{name}": str(value) for name, value in container["resources"]["limits"].items()}
    return IMAGE | {
        each["name"]: each["value"] if "value" in each else limits[each["valueFrom"]["resourceFieldRef"]["resource"]]
        for each in container["env"]
    }
