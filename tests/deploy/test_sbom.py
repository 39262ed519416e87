"""`make sbom`: the bills of materials are valid and contain every pinned package."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.pins import read_pins
from tests.processes import PATIENCE, PROJECT
from tests.programs import find, output

PINS = PROJECT / "requirements" / "runtime.txt"

#: Validates documents on stdin, one per line, against CycloneDX's strict schema, in the tool's own environment.
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_6)
for line in sys.stdin:
    print(validator.validate_str(line) is None)
"""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the bill of materials of requirements/runtime.txt, written by the command of `make sbom`."""
    file = tmp_path_factory.mktemp("sbom") / "runtime.cdx.json"
    command = re.search(r"^\S*/cyclonedx-py (requirements .*) --output-file ", dry_run(), re.MULTILINE)
    assert command
    output("cyclonedx-py", *command[1].split(), "--output-file", str(file), str(PINS))
    written: dict[str, Any] = json.loads(file.read_text())
    return written


def dry_run() -> str:
    """Return the commands that `make sbom` runs on a fresh machine."""
    return output("make", "--dry-run", "VENV=no-such-folder", "sbom")


def are_valid(*documents: dict[str, Any]) -> list[bool]:
    python = Path(find("cyclonedx-py")).with_name("python")
    finished = subprocess.run(
        [str(python), "-c", VALIDATE],
        input="\n".join(map(json.dumps, documents)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return [line == "True" for line in finished.stdout.splitlines()]


def test_schema(document: dict[str, Any]) -> None:
    """CycloneDX's strict schema accepts the document, and would detect an unknown field."""
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert are_valid(document, document | {"componants": []}) == [True, False]


def test_subject(document: dict[str, Any]) -> None:
    """The document describes this project and its license."""
    subject = document["metadata"]["component"]
    assert (subject["name"], subject["type"]) == ("sentiment-conv1d", "application")
    assert [each["license"]["id"] for each in subject["licenses"]] == ["Apache-2.0"]


def test_packages(document: dict[str, Any]) -> None:
    """The document contains every pinned package with its version and its hashes, and no other package."""
    pinned = {(pin.name, pin.version): pin.digests for pin in read_pins(PINS.name)}
    contained = {
        (component["name"], component["version"]): {
            each["content"] for reference in component["externalReferences"] for each in reference["hashes"]
        }
        for component in document["components"]
    }
    assert len(pinned) > 20 and all(pinned.values())
    assert contained == pinned
    assert {each["purl"] for each in document["components"]} == {
        f"pkg:pypi/{name}@{version}" for name, version in pinned
    }


def test_image() -> None:
    """The bill of materials of the image describes an environment with the packages that the Dockerfile installs."""
    [pins] = re.findall(r"^FROM environment AS cpu-packages\nCOPY (\S+)", (PROJECT / "Dockerfile").read_text(), re.M)
    installed = re.findall(r"pip --python no-such-folder/image/.*?--requirement (\S+)", dry_run(), re.S)
    assert installed == [pins]
    assert re.search(r"/cyclonedx-py environment .* no-such-folder/image$", dry_run(), re.M)
