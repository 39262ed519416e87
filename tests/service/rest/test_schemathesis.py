"""Schemathesis tests the OpenAPI document with valid and invalid requests and finds no problem."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.processes import ServerProcess

#: What a run leaves out, and why.
CONFIGURATION = """
[[operations]]
# They change what every other request is answered with.
include-path-regex = "^/v2/repository/models/"
enabled = false

[checks]
# Some rules no schema can tell: one of two fields, base64 of UTF-8, tensors that fit their shapes.
positive_data_acceptance.enabled = false
"""


def test_schemathesis(tmp_path: Path) -> None:
    """No check fails: no 5xx, no undocumented status, media type, header or body, no invalid request accepted."""
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    flags = ("--seed", "1", "--max-examples", "20", "--generation-database", "none", "--no-color", "--warnings", "off")
    with ServerProcess() as server:
        described = server.client.get("/openapi.json").json()["paths"]
        result = subprocess.run(
            [
                *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
                *("run", f"{server.url}/openapi.json", "--continue-on-failure", *flags),
            ],
            cwd=tmp_path,
            env=os.environ | {"NO_PROXY": "*", "COLUMNS": "120"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        tested = re.search(r"Tested: (\d+)", result.stdout)
        operations = [path for path, methods in described.items() for _ in methods]
        left_out = [path for path in described if path.startswith("/v2/repository/models/")]
        assert tested and int(tested[1]) == len(operations) - len(left_out) > 20
        assert not [line for line in server.log if " ERROR " in line]
