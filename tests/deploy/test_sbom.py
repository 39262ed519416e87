"""`make sbom`: the bills of materials are valid and contain every pinned package, and the libraries inside wheels."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deploy.materials import RECORDS, completed
from tests.pins import read_pins
from tests.processes import PATIENCE, PROJECT
from tests.programs import find, output

PINS = PROJECT / "requirements" / "runtime.txt"

#: The libraries inside wheels.
RECORD = tomllib.loads(RECORDS.read_text("utf-8"))

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
    """Return the bill of materials of requirements/runtime.txt, written by the commands of `make sbom`."""
    file = tmp_path_factory.mktemp("sbom") / "runtime.cdx.json"
    command = re.search(r"^\S*/cyclonedx-py (requirements .*) --output-file ", dry_run(), re.MULTILINE)
    assert command
    output("cyclonedx-py", *command[1].split(), "--output-file", str(file), str(PINS))
    [module] = re.findall(
        r"/python -m (\S+) build/sbom/runtime.cdx.json build/sbom/image.cdx.json$", dry_run(), re.MULTILINE
    )
    subprocess.run([sys.executable, "-m", module, str(file)], cwd=PROJECT, timeout=PATIENCE, check=True)
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


def test_libraries_inside_wheels(document: dict[str, Any]) -> None:
    """The document contains libnghttp2 as a part of ngh2, with its version, license and source."""
    [ngh2] = [each for each in document["components"] if "components" in each]
    [library] = ngh2["components"]
    assert (ngh2["name"], library["name"], library["version"]) == ("ngh2", "nghttp2", "1.70.0")
    assert library["licenses"] == [{"license": {"id": "MIT"}}]
    [source] = library["externalReferences"]
    assert source["url"] == "https://github.com/nghttp2/nghttp2" and re.fullmatch(r"[0-9a-f]{40}", source["comment"])


@pytest.mark.parametrize("file", sorted(each.name for each in PINS.parent.glob("*.txt")))
def test_records_follow_the_pins(file: str) -> None:
    """What is recorded of a wheel's libraries was found in the source of the version that is pinned."""
    for name, record in RECORD.items():
        for pin in read_pins(file):
            if pin.name == name:
                assert pin.version == record["version"] and record["source"] in pin.digests


def test_records_of_other_versions(document: dict[str, Any]) -> None:
    """Nothing is written about a version that the records do not describe, or a package that is not there."""
    others = [each for each in document["components"] if each["name"] != "ngh2"]
    for components in (others, [*others, {"name": "ngh2", "version": "0.3.1"}]):
        with pytest.raises(ValueError, match=r"ngh2 0\.3\.0"):
            completed(document | {"components": components}, RECORD)


def test_versions_of_records() -> None:
    """The version of a library is also in the names with which scanners look it up."""
    for record in RECORD.values():
        for library in record["contains"]:
            assert library["purl"].endswith(f"@v{library['version']}") and f":{library['version']}:" in library["cpe"]


def test_image() -> None:
    """The bill of materials of the image describes an environment with the packages that the Dockerfile installs."""
    [pins] = re.findall(r"^FROM environment AS cpu-packages\nCOPY (\S+)", (PROJECT / "Dockerfile").read_text(), re.M)
    installed = re.findall(r"pip --python no-such-folder/image/.*?--requirement (\S+)", dry_run(), re.S)
    assert installed == [pins]
    assert re.search(r"/cyclonedx-py environment .* no-such-folder/image$", dry_run(), re.M)
