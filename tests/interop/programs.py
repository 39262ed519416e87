"""The clients' programs, built where their languages are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests import programs
from tests.processes import PROJECT

HERE = Path(__file__).parent

#: The libraries of Debian's packages for Java and for Go.
_JAVA = Path("/usr/share/java")
_GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
_JARS = (
    *("grpc-api", "grpc-context", "grpc-core", "grpc-netty", "grpc-protobuf", "grpc-protobuf-lite", "grpc-stub"),
    *("gson", "guava", "perfmark-api", "protobuf", "protobuf-util"),
    *("netty-buffer", "netty-codec", "netty-codec-http", "netty-codec-http2", "netty-common", "netty-handler"),
    *("netty-handler-proxy", "netty-resolver", "netty-transport", "netty-transport-native-unix-common"),
)

#: What starts a program.
Command = Sequence[str | Path]


def run(*command: str | Path, **variables: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, cwd=PROJECT, env=os.environ | variables, check=True)


def go(source: Path, build: Path, *path: Path) -> Command:
    """Compile a Go program, which finds packages in Debian's folder and in those of `path`."""
    program = build / source.stem
    gopath = os.pathsep.join((*map(str, path), _GO["GOPATH"]))
    run(programs.find("go"), "build", "-o", program, source, **_GO | {"GOPATH": gopath})
    return [program]


def java(sources: Sequence[Path], build: Path) -> Command:
    """Compile a Java program, whose main class is that of the first source."""
    for jar in _JARS:
        programs.needed(_JAVA / f"{jar}.jar")
    classpath = os.pathsep.join([str(build), *(f"{_JAVA / jar}.jar" for jar in _JARS)])
    run(programs.find("javac"), "-cp", classpath, "-d", build, *sources)
    return [programs.find("java"), "-cp", classpath, sources[0].stem]


def node(source: Path) -> Command:
    """A program for Node, which finds the packages that npm has installed."""
    programs.needed(HERE / "node/node_modules")
    return [programs.find("node"), source]


def python(source: Path) -> Command:
    """A program for the Python of these tests."""
    return [sys.executable, source]
