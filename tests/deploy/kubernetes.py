"""What the tests of Kubernetes' manifests share."""

from __future__ import annotations

from typing import Any

#: The oldest release with all used fields, and the newest release with schemas.
RELEASES = ("1.29", "1.37")

#: The oldest release with image volumes.
IMAGE_VOLUMES = "1.31"

Manifest = dict[str, Any]


def environment(container: Manifest) -> dict[str, str]:
    """Return the variables of a container. Values that Kubernetes fills in are read from the manifest."""
    limits = {f"limits.{name}": str(value) for name, value in container["resources"]["limits"].items()}
    return {
        each["name"]: each["value"] if "value" in each else limits[each["valueFrom"]["resourceFieldRef"]["resource"]]
        for each in container["env"]
    }
