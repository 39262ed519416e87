"""The commands of the Makefile install what they need, and nothing else."""

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.pins import pinned, read_pins
from tests.processes import PATIENCE, PROJECT
from tests.programs import needed


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Create a checkout whose service prints its flags and a constant of the only package that it needs."""
    folder = tmp_path / "checkout"
    for name in ("service", "requirements", "sentiment_conv1d/native", "index"):
        (folder / name).mkdir(parents=True)
    for name in ("Makefile", "sentiment_conv1d/native/compilation.py"):
        shutil.copy(PROJECT / name, folder / name)
    (folder / "service" / "__main__.py").write_text("import sys, needed; print(*sys.argv[1:], needed.CONSTANT)")
    digest = write_wheel(folder / "index" / "needed-1-py3-none-any.whl")
    (folder / "requirements" / "runtime.txt").write_text(f"needed==1 --hash=sha256:{digest}\n")
    return folder


def write_wheel(path: Path) -> str:
    """Write a wheel of one module, with its metadata first, as some builders do. Return its SHA-256."""
    module = "CONSTANT = 7\n"
    digest = base64.urlsafe_b64encode(hashlib.sha256(module.encode()).digest()).rstrip(b"=").decode()
    files = {
        "needed-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: needed\nVersion: 1\n",
        "needed-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "needed.py": module,
        "needed-1.dist-info/RECORD": f"needed.py,sha256={digest},{len(module)}\n",
    }
    with ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def started(folder: Path, path: str, *words: str) -> subprocess.Popen[str]:
    """Start make in a checkout, with this PATH and an index of packages in the checkout, in its own process group."""
    # A process that a shell started in the background ignores Ctrl-C, and so would make.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            ["make", "--no-print-directory", *words],
            cwd=folder,
            env=variables(PATH=path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(folder / "index")),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, ignored)


def variables(**others: str) -> dict[str, str]:
    """Return this process's environment without what chooses a compiler, says that it is a test, or is make's."""
    without = {"CI", "CXX", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    return {name: value for name, value in os.environ.items() if name not in without} | others


def serve(folder: Path) -> str:
    """Return what `make serve` prints with a Python that works."""
    process = started(folder, os.environ["PATH"], "serve", f"PYTHON={sys.executable}", "CXX=", "ARGS=--port 9000")
    output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    return output


def write_program(path: Path, lines: str) -> None:
    """Write a shell script."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)


def half_python(folder: Path, end: str) -> str:
    """Return a PATH whose `python3` makes half an environment and ends so."""
    python = Path(sys.executable).resolve()
    half = (
        f'mkdir -p "$3/bin" && ln -s {python} "$3/bin/python"\n'
        f'printf "home = {python.parent}\\ninclude-system-site-packages = false\\n" > "$3/pyvenv.cfg"'
    )
    write_program(folder / "python3", f'[ "$1 $2" = "-m venv" ] || exec {sys.executable} "$@"\n{half}\n{end}')
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_environment_that_cannot_be_made(checkout: Path, tmp_path: Path) -> None:
    """If Python cannot make an environment, make removes it and names Debian's package; with the package it works."""
    process = started(checkout, half_python(tmp_path / "bin", "exit 1"), "serve")
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert ".venv could not be made, and is removed." in error and "apt-get install python3-venv" in error
    assert not (checkout / ".venv").exists()
    output = serve(checkout)
    assert "make installs about 200 MB into .venv, once" in output.splitlines()
    assert output.endswith("serve --port 9000 7\n")
    assert serve(checkout) == "serve --port 9000 7\n"


def test_interrupted_environment(checkout: Path, tmp_path: Path) -> None:
    """After Ctrl-C while Python makes the environment, the next command makes it anew."""
    process = started(checkout, half_python(tmp_path / "bin", "echo waiting; exec sleep 600"), "serve")
    assert process.stdout is not None and process.stdout.readline() == "waiting\n"
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    # make removes the link that it was to make. After a second Ctrl-C, or a loss of power, the link remains.
    python = checkout / ".venv" / "bin" / "python"
    python.unlink(missing_ok=True)
    python.symlink_to(Path(sys.executable).resolve())
    assert serve(checkout).endswith("serve --port 9000 7\n")


def test_interrupted_installation(checkout: Path) -> None:
    """After Ctrl-C while pip writes a package, of which the metadata can come first, the next command installs it."""
    serve(checkout)
    [packages] = (checkout / ".venv" / "lib").glob("*/site-packages")
    for path in (checkout / ".venv" / ".runtime", packages / "needed.py"):
        path.unlink()
    for name in ("INSTALLER", "RECORD", "REQUESTED"):
        (packages / "needed-1.dist-info" / name).unlink()
    assert serve(checkout).endswith("serve --port 9000 7\n")


def test_folder_of_other_files(checkout: Path) -> None:
    """make does not replace a folder that is no environment."""
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "file").touch()
    process = started(checkout, os.environ["PATH"], "serve", f"PYTHON={sys.executable}")
    _, error = process.communicate(timeout=PATIENCE)
    assert error.startswith(".venv contains files, but is not a Python environment\n")
    assert [path.name for path in (checkout / ".venv").iterdir()] == ["file"]


def without_compiler(folder: Path) -> None:
    """Link all programs of this machine, except a compiler. To root, apt-get logs its arguments and installs one."""
    folder.mkdir()
    install = f"echo > {folder}/c++; chmod +x {folder}/c++"
    fakes = {
        "id": "echo 0",
        "dpkg": "exit 1",
        "apt-get": f'echo "$*" >> {folder.parent}/log\ncase "$*" in *install*) {install};; esac',
    }
    for each in os.environ["PATH"].split(os.pathsep):
        for path in Path(each).glob("*"):
            if path.name not in {*fakes, "c++"} and not (folder / path.name).is_symlink():
                (folder / path.name).symlink_to(path)
    for name, lines in fakes.items():
        write_program(folder / name, lines)


@pytest.mark.parametrize(
    ("settings", "installed"),
    [({"CI": "true"}, ["g++"]), ({}, []), ({"CI": "true", "CXX": ""}, [])],
    ids=["CI", "no CI", "no compiler wanted"],
)
def test_compiler(settings: Mapping[str, str], installed: list[str], tmp_path: Path) -> None:
    """Continuous integration installs the compiler alone, once, and as root; others do without the native code."""
    without_compiler(tmp_path / "bin")
    dry = subprocess.run(["make", "--dry-run", "test"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "command -v c++" in dry
    for _ in range(2):
        subprocess.run(
            ["make", "compiler"], cwd=PROJECT, env=variables(PATH=str(tmp_path / "bin"), **settings), check=True
        )
    log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    assert re.findall(r"^install .* ([a-z+]+)$", log, re.MULTILINE) == installed


def test_no_compiler(checkout: Path, tmp_path: Path) -> None:
    """Without a compiler, `make` says what that costs, and what to install; with one, the next command compiles."""
    without_compiler(tmp_path / "bin")
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
    library = "sentiment_conv1d/native/library.so"
    _, error = started(checkout, str(tmp_path / "bin"), library).communicate(timeout=PATIENCE)
    assert error.startswith("The native code is left out: there is no C++ compiler\n")
    assert "up to 2.3 times slower" in error and "apt-get install g++, then `make serve` again" in error
    write_program(tmp_path / "bin" / "c++", 'while [ "$1" != -o ]; do shift; done; echo > "$2"')
    process = started(checkout, str(tmp_path / "bin"), library)
    assert process.communicate(timeout=PATIENCE) == ("The native code is compiled, once\n", "")
    assert (checkout / library).exists()


def test_training_without_data() -> None:
    """`make train` without data downloads and installs nothing, and names the data and what they cost."""
    process = started(PROJECT, os.environ["PATH"], "train", "VENV=missing")
    output, error = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (2, "")
    for part in ("DATA=reviews.csv", "DATA=imdb", "84 MB", "three minutes", "TensorFlow", "2 GB"):
        assert part in error
    assert not (PROJECT / "missing").exists()


def test_export_without_a_run() -> None:
    """`make export` installs nothing for a run that does not exist, and says how to train one."""
    process = started(PROJECT, os.environ["PATH"], "export", "VENV=missing", "RUN=runs/no-such-run")
    output, error = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (2, "")
    assert "runs/no-such-run does not exist" in error and "make train DATA=reviews.csv RUN=runs/no-such-run" in error
    assert not (PROJECT / "missing").exists()


@pytest.mark.parametrize("target", ["train", "train-accurate", "train-reviews", "export"])
def test_training_without_the_development_tools(target: str, tmp_path: Path) -> None:
    """On a fresh machine, training and export install the training tools, and no development tools."""
    command = ["make", "--dry-run", f"VENV={tmp_path / 'venv'}", target, *(["DATA=imdb"] if target == "train" else [])]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert re.findall(r"--requirement (\S+)", printed) == ["requirements/train.txt"]


def test_check_before_the_installation(tmp_path: Path) -> None:
    """On a fresh machine, `make train` checks a file of texts before it installs TensorFlow."""
    command = ["make", "--dry-run", f"VENV={tmp_path / 'venv'}", "train", "DATA=tickets.csv"]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    steps = re.findall(r"--requirement requirements/(\S+)|model (train .*)", printed)
    arguments = "train --data tickets.csv --out runs/imdb-cnn "
    assert [first or second for first, second in steps] == [
        "runtime.txt",
        f"{arguments} --dry-run",
        "train.txt",
        arguments,
    ]


@pytest.mark.parametrize(
    "words", ["test", "train DATA=imdb", "train DATA=docs/tickets.csv", "train-reviews", "export RUN=docs"]
)
def test_python_without_tensorflow(words: str, tmp_path: Path) -> None:
    """With Python 3.14, commands that need TensorFlow say in one line that it has no wheels, and install nothing."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 14, 0); $2"\n')
    python.chmod(0o755)
    command = ["make", "--no-print-directory", f"VENV={tmp_path}", *words.split()]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    message, end = finished.stderr.splitlines()
    assert message.startswith("The extra `train` needs TensorFlow, which has no wheels for Python 3.14: ")
    assert ": *** [Makefile:" in end  # after "make", or "make[1]" if make runs the tests
    assert finished.stdout == ""
    assert list(tmp_path.rglob("*")) == [python.parent, python]


def test_help() -> None:
    """`make help` lists every command with a description, and `make` alone does the same."""
    first, second = (
        subprocess.run(
            ["make", "--no-print-directory", *words],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout
        for words in (["help"], [])
    )
    described = re.findall(r"^([a-z0-9-]+):.*  ## (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert first == second
    assert [tuple(line.split(None, 1)) for line in first.splitlines()] == described
    assert {"serve", "test", "check-arm64"} <= dict(described).keys()


def test_pins_of_the_training_tools() -> None:
    """The development tools include the training tools with the same versions, so both fit into one environment."""
    training, development = dict(pinned("train.txt")), dict(pinned("dev.txt"))
    assert {"keras", "scikit-learn", "tf2onnx"} <= set(training)
    assert training.items() <= development.items()


def test_pins_of_extras() -> None:
    """Packages are pinned with the extras that others require: pip 23 does not apply a pin of NAME to NAME[EXTRA]."""
    pins = {pin.name: pin.extras for pin in read_pins("dev.txt")}
    requirements = [
        Requirement(line)
        for distribution in distributions()
        if canonicalize_name(distribution.name) in pins
        for line in distribution.requires or ()
    ]
    required = [each for each in requirements if each.extras and (each.marker is None or each.marker.evaluate())]
    assert "coverage" in {each.name for each in required}
    assert [str(each) for each in required if not each.extras <= pins[canonicalize_name(each.name)]] == []


def test_layout(tmp_path: Path) -> None:
    """`make build/package` links the modules of the package as they are installed, again after a folder was added."""
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in ("model", "tests", "sentiment_conv1d", "sentiment_conv1d/artifact", "server"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        subprocess.run(["make", "build/package"], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    [package] = (tmp_path / "build" / "package").iterdir()
    assert package.name == "sentiment_conv1d"
    assert {path.name: path.resolve() for path in package.iterdir()} == {
        "__init__.py": tmp_path / "sentiment_conv1d" / "__init__.py",
        "artifact": tmp_path / "sentiment_conv1d" / "artifact",
        "model": tmp_path / "model",
        "server": tmp_path / "server",
    }


def test_missing_programs_fail_continuous_integration(tmp_path: Path) -> None:
    """`.ci/run` sets CI=true wherever it runs, so a test whose program is missing fails in every command of it."""
    fake = tmp_path / "make"
    fake.write_text('#!/bin/sh\necho "make $1 with CI=$CI"\n')
    fake.chmod(0o755)
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    variables["PATH"] = f"{tmp_path}{os.pathsep}{variables['PATH']}"
    finished = subprocess.run(
        [PROJECT / ".ci" / "run"], env=variables, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    started = re.findall(r"^make (\S+) with CI=(.*)$", finished.stdout, re.MULTILINE)
    assert ("test", "true") in started
    assert {value for _, value in started} == {"true"}


def test_audit() -> None:
    """`make audit` collects the packages of every file, also of files with other versions of the same packages."""
    needed(Path(sys.prefix, "tools", ".installed"))
    command = ["make", "audit", f"VENV={sys.prefix}", "ARGS=--dry-run"]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert finished.returncode == 0, finished.stderr
    counts = list(map(int, re.findall(r"would have audited (\d+) packages", finished.stderr)))
    assert len(counts) == finished.stdout.count("requirements/") >= 6
    assert min(counts) > 20


def test_audit_of_bad_pins(tmp_path: Path) -> None:
    """`make audit` fails, and names the file, if a package cannot be looked up because it has no hash."""
    needed(Path(sys.prefix, "tools", ".installed"))
    (tmp_path / "requirements").mkdir()
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in ("tools", "runtime"):
        shutil.copy2(PROJECT / "requirements" / f"{name}.txt", tmp_path / "requirements")
    (tmp_path / "requirements" / "bad.txt").write_text("numpy==2.3.0\n")
    command = ["make", "audit", f"VENV={sys.prefix}", "ARGS=--dry-run", "AUDITED=bad runtime"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert finished.returncode != 0
    assert "make audit: FAILED: bad" in finished.stdout.splitlines()
    assert "would have audited" in finished.stderr
