"""Builds the client programs whose languages are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests import programs
from tests.processes import PROJECT

#: The folder that npm installs.
NODE_MODULES = Path(__file__).parent / "node/node_modules"

#: The libraries of Debian's packages for Go and for Java.
_GOPATH = Path("/usr/share/gocode")
_JAVA = Path("/usr/share/java")
_JARS = (
    *("grpc-api", "grpc-context", "grpc-core", "grpc-netty", "grpc-protobuf", "grpc-protobuf-lite", "grpc-stub"),
    *("geronimo-annotation-1.3-spec", "gson", "guava", "perfmark-api", "protobuf", "protobuf-util"),
    *("netty-buffer", "netty-codec", "netty-codec-http", "netty-codec-http2", "netty-common", "netty-handler"),
    *("netty-handler-proxy", "netty-resolver", "netty-transport", "netty-transport-native-unix-common"),
)

#: The command that starts a program.
Command = Sequence[str | Path]


def run(*command: str | Path, **variables: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, cwd=PROJECT, env=environment(**variables), check=True)


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with additional variables."""
    return os.environ | variables


def go(source: Path, build: Path, *path: Path) -> Command:
    """Compile a Go program with packages from Debian's folder and from `path`."""
    compiler = programs.find("go")
    programs.needed(_GOPATH / "src/google.golang.org/grpc")
    program = build / source.stem
    gopath = os.pathsep.join(map(str, (*path, _GOPATH)))
    run(compiler, "build", "-o", program, source, GO111MODULE="off", GOPATH=gopath)
    return [program]


def java(sources: Sequence[Path], build: Path) -> Command:
    """Compile a Java program, whose main class is that of the first source."""
    compiler = programs.find("javac")
    jars = [_JAVA / f"{jar}.jar" for jar in _JARS]
    for jar in jars:
        programs.needed(jar)
    classpath = os.pathsep.join(map(str, (build, *jars)))
    run(compiler, "-cp", classpath, "-d", build, *sources)
    return [programs.find("java"), "-cp", classpath, sources[0].stem]


def node(source: Path) -> Command:
    """Prepare a Node program that finds npm's packages."""
    runtime = programs.find("node")
    programs.needed(NODE_MODULES / "@grpc/grpc-js")
    return [runtime, source]


def python(source: Path) -> Command:
    """Prepare a program for the Python of these tests."""
    return [sys.executable, source]
