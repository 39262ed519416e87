"""Adds the libraries inside wheels to bills of materials (CycloneDX): `python -m deploy.materials FILE…`.

The tool that writes the bills knows only what the packages' metadata name.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parents[1] / "requirements" / "contained.toml"


def component(library: dict[str, str]) -> dict[str, Any]:
    """Return the component of a library of the records."""
    return {
        "type": "library",
        "bom-ref": library["purl"],
        "name": library["name"],
        "version": library["version"],
        "licenses": [{"license": {"id": library["license"]}}],
        "cpe": library["cpe"],
        "purl": library["purl"],
        "externalReferences": [{"type": "vcs", "url": library["repository"], "comment": library["commit"]}],
    }


def completed(bill: dict[str, Any], records: dict[str, Any]) -> dict[str, Any]:
    """Return a bill of materials in which the packages of the records contain their libraries.

    Raises ValueError if the bill does not have exactly one component with the version of each record.
    """
    components: list[dict[str, Any]] = bill["components"]
    for name, record in records.items():
        versions = [each["version"] for each in components if each["name"] == name]
        if versions != [record["version"]]:
            raise ValueError(f"{RECORDS.name} describes {name} {record['version']}, the bill has {versions}")
    contained = {name: [component(library) for library in record["contains"]] for name, record in records.items()}
    return bill | {
        "components": [
            each | {"components": contained[each["name"]]} if each["name"] in contained else each for each in components
        ]
    }


if __name__ == "__main__":
    records = tomllib.loads(RECORDS.read_text("utf-8"))
    for file in map(Path, sys.argv[1:]):
        bill = completed(json.loads(file.read_text("utf-8")), records)
        file.write_text(json.dumps(bill, indent=2, ensure_ascii=False) + "\n", "utf-8")
