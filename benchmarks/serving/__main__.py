"""`python -m benchmarks.serving`: this service and applications like it, in one interleaved run."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks import ARTIFACT, answers, rest, rpc
from benchmarks.baselines.competent import Competent
from benchmarks.markdown import circumstances, show
from benchmarks.rest import Load, Script
from benchmarks.serving.cases import (
    ALONE,
    CPP,
    DISTURBANCE,
    DISTURBED,
    FASTAPI,
    FORMS,
    GENERAL,
    HOSTED,
    MANY_AND_GRPC,
    METHODS,
    NODE,
    ONE_BY_ONE,
    QUANTIZED,
    SERVICE,
    SHORT,
    WHOLE,
    Case,
)
from benchmarks.serving.inside import Classifiers, measure_stages
from benchmarks.serving.report import Measurements, save_plot, tables
from loadtest.processes import Server
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.inference.classifier import Classifier

#: The same model in 8 bits.
QUANTIZED_ARTIFACT = ARTIFACT.parent.parent / "imdb-cnn-8bit" / "1"

_BASELINES = Path(__file__).parents[1] / "baselines"

#: The texts of each kind with which the answers of every server are checked.
_CHECKED = 8


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", default=texts.IMDB, help="imdb (generated), or a .txt, .csv, .jsonl, .parquet")
    parser.add_argument("--count", type=int, default=1024, help="texts (default: 1024)")
    parser.add_argument("--seconds", type=int, default=3, help="of each run (default: 3)")
    parser.add_argument("--rounds", type=int, default=5, help="of all runs (default: 5)")
    parser.add_argument("--workers", type=int, default=2, help="of the service and of the applications")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    parser.add_argument("--plot", type=Path, help="write a plot of the medians to this file (.svg, .png)")
    options = parser.parse_args()
    rest.require()

    artifact = read_artifact(ARTIFACT)
    whole = texts.choose(options.texts, artifact.tokenizer, options.count)
    kinds = {WHOLE: whole, SHORT: texts.shorten(whole)}
    ids = np.mean([min(artifact.tokenizer.encode(text).tokens, 400) for text in whole])
    print(circumstances())
    print(
        f"{len(whole)} texts of {ids:.0f} ids in the mean, {options.workers} workers, medians of {options.rounds} "
        f"rounds of {options.seconds} s; the load generators share the processors.\n"
    )

    measured = Measurements(defaultdict(list), {kind: defaultdict(list) for kind in kinds})
    quantized = Classifier(read_artifact(QUANTIZED_ARTIFACT))
    classifiers = Classifiers(Classifier(artifact), quantized, Competent(ARTIFACT))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        generator = Generator(kinds, folder, options.seconds)
        measured_servers = [*make_servers(options.workers), *make_installed(options.workers)]
        servers = {server.name: stack.enter_context(server) for server in measured_servers}
        truth = answers.expected(text for each in kinds.values() for text in each[:_CHECKED])
        for name, server in servers.items():
            if name != QUANTIZED:  # its probabilities differ
                answers.check(server, rest.PREDICT, truth)

        def measure(cases: Iterable[Case], which: str) -> None:
            for case in [case for case in cases if case.server in servers]:
                show(f"{which}: {', '.join(map(str, case))}")
                measured.loads[case].append(generator.run(servers[case.server], case))

        for number in range(options.rounds):
            which = f"round {number + 1} of {options.rounds}"
            with make_service(SERVICE, options.workers) as another:
                measured.ready.append(another.ready_seconds)
            measure(ONE_BY_ONE, which)
            for kind, each in kinds.items():
                measure_stages(measured.stages[kind], classifiers, each, options.workers)
            measure(MANY_AND_GRPC, which)
        measured.memory = servers[SERVICE].pss_megabytes()
    show("")
    print("\n\n".join(tables(measured)))
    if options.plot:
        save_plot(measured, options.plot)
    if options.json:
        document = {
            ", ".join(map(str, case)): [load._asdict() for load in loads] for case, loads in measured.loads.items()
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def make_service(name: str, workers: int, *flags: str, model: str = ARTIFACT.parent.name) -> Server:
    """Return this service on the CPU."""
    ports = ("--host", "127.0.0.1", "--port", "{port}", "--grpc-port", "{grpc_port}")
    options = ("--execution-provider", "cpu", "--workers", str(workers), "--default-model", model, *flags)
    return Server(name, "-m", "service", "serve", *ports, *options, probe="/readyz")


def make_servers(workers: int) -> list[Server]:
    """Return all measured servers that are in Python."""
    return [
        make_service(SERVICE, workers),
        make_service(QUANTIZED, workers, model=QUANTIZED_ARTIFACT.parent.name),
        make_service(GENERAL, workers, "--no-native-operator"),
        make_service(ALONE, 1),
        *(
            Server(name, "-m", "benchmarks.baselines.applications", function, "{ports}", ports=workers)
            for name, function in ((FASTAPI, "fastapi"), (HOSTED, "hosted"))
        ),
    ]


def make_installed(workers: int) -> list[Server]:
    """Return the applications in C++ and Node, if make has installed them.

    The one in C++ has a thread for each port, and the one in Node a process.
    """
    programs: dict[str, list[str]] = {}
    if (_BASELINES / "competent").exists():
        programs[CPP] = [str(_BASELINES / "competent")]
    if shutil.which("node") and (_BASELINES / "node/node_modules").exists():
        programs[NODE] = ["node", str(_BASELINES / "node/server.js")]
    return [
        Server(name, *arguments, str(ARTIFACT), "{ports}", ports=workers, python=program)
        for name, (program, *arguments) in programs.items()
    ]


class Generator:
    """Sends the texts in requests of every form."""

    def __init__(self, kinds: Mapping[str, Sequence[str]], folder: Path, seconds: int) -> None:
        self._seconds = seconds
        self._scripts = {
            (name, kind): Script(form, each) for name, form in FORMS.items() for kind, each in kinds.items()
        }
        self._files = {kind: folder / f"{kind}.json" for kind in kinds}
        for kind, file in self._files.items():
            file.write_text(json.dumps(list(kinds[kind])))

    def run(self, server: Server, case: Case) -> Load:
        """Measure a case."""
        if case.protocol in METHODS:
            method, streams = METHODS[case.protocol]
            return rpc.run(server, method, self._files[case.kind], case.connections, streams, self._seconds)
        if case.protocol == DISTURBED:
            with rest.meanwhile(server, self._scripts[DISTURBANCE, WHOLE]):
                return rest.run(server, self._scripts["REST", case.kind], case.connections, self._seconds)
        return rest.run(server, self._scripts[case.protocol, case.kind], case.connections, self._seconds)


if __name__ == "__main__":
    main()
