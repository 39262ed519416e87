"""systemd accepts the unit, and the service runs in the sandbox that they describe."""

from __future__ import annotations

import ctypes.util
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sentiment_conv1d.artifact.errors import TransientError, exit_status
from sentiment_conv1d.service.__main__ import parser
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.settings import Settings, read_settings, variable
from tests.deploy import sandbox
from tests.processes import PATIENCE, PROJECT, ServerProcess
from tests.programs import find, needed

FOLDER = PROJECT / "deploy" / "systemd"
SERVICE = FOLDER / "sentiment-conv1d.service"

#: The highest exposure that systemd may compute, out of 10. Most of it is the service's network.
EXPOSURE = 1.3


def values(unit: Path, name: str) -> list[str]:
    """Return the values that a unit assigns to a name, in order."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def value(unit: Path, name: str) -> str:
    [only] = values(unit, name)
    return only


def analyze(*arguments: str, units: Path = FOLDER) -> str:
    """Run systemd-analyze, unpacked or installed, and return its output. It must succeed."""
    program = Path(find("systemd-analyze"))
    libraries = program.parents[1] / "lib"
    variables = {"SYSTEMD_UNIT_PATH": f"{units}:{libraries}/systemd/system"}
    if libraries != Path("/usr/lib"):
        folders = {file.parent for pattern in ("*/lib*.so*", "*/systemd/lib*.so") for file in libraries.glob(pattern)}
        variables["LD_LIBRARY_PATH"] = ":".join(map(str, sorted(folders)))
    finished = subprocess.run(
        [str(program), *arguments],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def allowed() -> set[str]:
    """Return the system calls that the unit allows."""
    sets: dict[str, list[str]] = {}
    for line in re.sub(r"\x1b\[[\d;]*m", "", analyze("syscall-filter")).splitlines():
        if line.startswith("@"):
            members = sets[line] = []
        elif (member := line.strip()) and not member.startswith("#"):
            members.append(member)

    def members_of(name: str) -> set[str]:
        return set().union(*map(members_of, sets[name])) if name.startswith("@") else {name}

    calls: set[str] = set()
    for words in values(SERVICE, "SystemCallFilter"):
        for word in words.removeprefix("~").split():
            calls = calls - members_of(word) if words.startswith("~") else calls | members_of(word)
    return calls


def installed(folder: Path) -> Path:
    """Write the unit into a folder, with a program that is installed."""
    unit = folder / SERVICE.name
    unit.write_text(SERVICE.read_text().replace(value(SERVICE, "ExecStart").split()[0], sys.executable))
    return unit


def test_verify(tmp_path: Path) -> None:
    """systemd accepts the unit if the program is installed."""
    assert analyze("verify", str(installed(tmp_path)), units=tmp_path) == ""


def test_documented_credentials(tmp_path: Path) -> None:
    """systemd accepts the documented credentials, and each is the value of a setting."""
    page = (PROJECT / "docs" / "deployment.md").read_text()
    [example] = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    text = textwrap.dedent(f"  {example}")
    credentials = re.findall(r"^LoadCredential=(.*?):/", text, re.MULTILINE)
    values_of = dict(re.findall(r"^Environment=(\w+)=%d/(.*)$", text, re.MULTILINE))
    assert list(values_of.values()) == credentials == ["tls.crt", "tls.key"]
    assert values_of.keys() <= set(map(variable, Settings.model_fields))
    unit = installed(tmp_path)
    (tmp_path / f"{SERVICE.name}.d").mkdir()
    (tmp_path / f"{SERVICE.name}.d" / "tls.conf").write_text(text)
    assert analyze("verify", str(unit), units=tmp_path) == ""


def test_request_log_folder() -> None:
    """The unit can write to the folder that the documentation uses for a request log."""
    page = (PROJECT / "docs" / "metrics.md").read_text()
    folders = set(re.findall(r"(?:--request-log|drift) (/\S+)", page))
    assert folders == {f"/var/log/{value(SERVICE, 'LogsDirectory')}"}


def test_exposure() -> None:
    """systemd computes a low exposure for the sandbox."""
    analyze("security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", str(SERVICE))


def test_command() -> None:
    """The command starts the service, without a shell in between."""
    program, *arguments = shlex.split(value(SERVICE, "ExecStart"))
    assert program == "/opt/sentiment-conv1d/bin/sentiment-conv1d"
    assert parser("").parse_args(arguments).command == "serve"


def test_other_machines_can_connect() -> None:
    """The service listens on all addresses, and the file of settings, which systemd reads later, can change that."""
    given = dict([value(SERVICE, "Environment").split("=")])
    assert read_settings({}, given).host == "0.0.0.0"
    assert "--host" not in value(SERVICE, "ExecStart")


def test_further_starts() -> None:
    """systemd starts the service again, without a limit, unless its exit status is that of a mistake."""
    assert value(SERVICE, "Restart") == "on-failure"
    final = {int(status) for status in value(SERVICE, "RestartPreventExitStatus").split()}
    assert final == {exit_status(StartupError(""))} and exit_status(TransientError("")) not in final
    assert value(SERVICE, "StartLimitIntervalSec") == "0"


def test_time_to_stop() -> None:
    """systemd waits longer than the service's shutdown takes, and sends the signal only to the main process."""
    settings = Settings()
    assert int(value(SERVICE, "TimeoutStopSec")) > settings.drain_delay + settings.shutdown_timeout + 5
    assert value(SERVICE, "KillMode") == "mixed"


@pytest.fixture
def library() -> str:
    """Return the path of libseccomp, unpacked or installed."""
    unpacked = next(Path(sys.prefix, "debian/usr/lib").glob("*/libseccomp.so.2"), None)
    name = str(unpacked) if unpacked else ctypes.util.find_library("seccomp")
    if name is None:
        needed(Path("libseccomp.so.2"))
    return str(name)


def test_sandbox(library: str) -> None:
    """The service needs no system call that the unit denies, and no memory that is writable and executable."""
    calls = allowed()
    assert "accept4" in calls and not {"bpf", "chroot", "ptrace", "mount"} & calls
    prefix = [sys.executable, sandbox.__file__, library, ",".join(sorted(calls))]
    with ServerProcess("--workers", "2", prefix=shlex.join(prefix)) as server:
        for route in ("/v1/predict", "/v1/explain"):
            assert server.client.post(route, json={"text": "A great film."}).status_code == 200
        assert "sentiment_worker" in server.client.get("/metrics").text
    assert not [line for line in server.log if "WARNING" in line or "ERROR" in line]


def test_denied_system_call(library: str) -> None:
    """In the sandbox, a denied system call ends the program."""
    calls = ",".join(sorted(allowed()))
    program = [sys.executable, "-c", "import os; os.chroot('/')"]
    finished = subprocess.run([sys.executable, sandbox.__file__, library, calls, *program], check=False)
    assert finished.returncode == -31  # SIGSYS
