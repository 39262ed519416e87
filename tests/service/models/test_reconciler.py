"""Changes of the model repository under traffic: versions are added, deleted and refused, and no answer is wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer
from sentiment_conv1d.protos import inference_pb2 as oip
from sentiment_conv1d.protos import sentiment_pb2 as pb
from sentiment_conv1d.service.scheduling.admission import weigh
from sentiment_conv1d.stubs import GRPCInferenceServiceStub, SentimentStub
from tests.proc import children, connections, kill_children, processor_seconds
from tests.processes import MODEL_REPOSITORY, PATIENCE, ServerProcess, eventually, patch, pause
from tests.service.artifacts import GOLDEN, endless_graph, probabilities, publish_strength, publish_table
from tests.service.callers import Callers
from tests.service.grpc.channels import connect
from tests.service.process.test_supervisor import versions
from tests.service.telemetry.test_metrics import metric, series

#: Scans of the repository per second. There are many, because the tests wait for them.
WATCH = ("--watch-interval", "0.1")

#: More texts than run at once, so that a new version can be loaded while they run.
BATCH = 80


def strength(version: int) -> float:
    """Return the weight of words in a version of `tickets`."""
    return 1 + version / 8


def answers(version: int) -> float:
    """Return the score of one positive word in a version."""
    return float(probabilities(["praise"], strength(version))[0])


class Traffic(Callers):
    """Callers that continuously send requests to `tickets` and check every answer against its version."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.seen: Counter[int] = Counter()
        self._server = server
        self._grown = threading.Condition()
        kinds = (self._native, self._batch, self._open_inference, self._typed, self._stream, self._native)
        self._callers = [threading.Thread(target=self._call, args=(kind,)) for kind in kinds]

    def until(self, version: int) -> None:
        """Wait until a version answers."""
        self.more(version, self.seen[version] + 1)

    def more(self, version: int, count: int) -> None:
        """Wait until a version has given a number of answers."""
        with self._grown:
            assert self._grown.wait_for(lambda: self.seen[version] >= count or self.faults, PATIENCE), self.seen
        assert not self.faults, self.faults[:3]

    def flow(self) -> None:
        """Wait for some answers of any version."""
        total = self.seen.total()
        with self._grown:
            assert self._grown.wait_for(lambda: self.seen.total() >= total + 30 or self.faults, PATIENCE)
        assert not self.faults, self.faults[:3]

    def _call(self, kind: Callable[[], Iterator[list[tuple[str, float]]]]) -> None:
        try:
            for answer in kind():
                versions = {int(version) for version, _ in answer}
                fault = len(versions) != 1 or any(
                    score != pytest.approx(answers(int(version)), abs=1e-6) for version, score in answer
                )
                with self._grown:
                    self.seen.update(versions)
                    if fault:
                        self.faults.append(f"mixed: {sorted(set(answer))}")
                    self._grown.notify_all()
                if self._over.is_set():
                    return
        except Exception as error:
            with self._grown:
                self.faults.append(f"failed: {error!r}")
                self._grown.notify_all()

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._server.url, timeout=PATIENCE, trust_env=False)

    def _native(self) -> Iterator[list[tuple[str, float]]]:
        with self._client() as client:
            while True:
                answer = client.post("/v1/predict", json={"text": "praise"}).raise_for_status().json()
                yield [(answer["model"]["version"], answer["score"])]

    def _batch(self) -> Iterator[list[tuple[str, float]]]:
        with self._client() as client:
            while True:
                answer = client.post("/v1/predict_batch", json={"texts": ["praise"] * BATCH, "model": "tickets"})
                predictions = answer.raise_for_status().json()["predictions"]
                yield [(each["model"]["version"], each["score"]) for each in predictions]

    def _open_inference(self) -> Iterator[list[tuple[str, float]]]:
        tensor = {"name": "text", "datatype": "BYTES", "shape": [BATCH, 1], "data": ["praise"] * BATCH}
        body = {"inputs": [tensor], "outputs": [{"name": "score"}]}
        with self._client() as client:
            while True:
                answer = client.post("/v2/models/tickets/infer", json=body).raise_for_status().json()
                yield [(answer["model_version"], score) for score in answer["outputs"][0]["data"]]

    def _typed(self) -> Iterator[list[tuple[str, float]]]:
        with connect(self._server) as channel:
            sentiment: Any = SentimentStub(channel)
            while True:
                answer = sentiment.PredictBatch(pb.PredictBatchRequest(texts=["praise"] * BATCH), timeout=PATIENCE)
                yield [(each.version, each.score) for each in answer.predictions]

    def _stream(self) -> Iterator[list[tuple[str, float]]]:
        """Keep one stream open, whose messages go to the newest version."""
        with connect(self._server) as channel:
            sentiment: Any = SentimentStub(channel)
            more = threading.Semaphore()

            def texts() -> Iterator[Any]:
                while True:
                    more.acquire()
                    yield pb.PredictRequest(text="praise", model="tickets")

            for answer in sentiment.PredictStream(texts()):
                yield [(answer.version, answer.score)]
                more.release()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Create a repository with version 1 of `tickets` and version 1 of `calls`."""
    publish(tmp_path, 1)
    publish_table(tmp_path, name="calls")
    return tmp_path


@pytest.fixture
def server(repository: Path) -> Iterator[ServerProcess]:
    """Serve the repository with two workers that follow it."""
    flags = ("--workers", "2", "--default-model", "tickets", "--admin", "open", *WATCH)
    with ServerProcess(*flags, repository=repository) as process:
        yield process


def publish(repository: Path, version: int) -> Artifact:
    """Publish the next version of `tickets`, which must have this number."""
    artifact = publish_strength(repository, strength(version))
    assert artifact.manifest.version == version
    return artifact


def index(client: httpx.Client) -> dict[tuple[str, str], tuple[str, str]]:
    """Return the state and the reason of every version."""
    entries = client.post("/v2/repository/index").json()
    return {(each["name"], each["version"]): (each["state"], each["reason"]) for each in entries}


def state(server: ServerProcess, version: int, client: httpx.Client | None = None) -> tuple[str, str]:
    """Return the state and the reason of a version of `tickets`."""
    return index(client or server.client).get(("tickets", str(version)), ("", ""))


@contextmanager
def client_of(server: ServerProcess, worker: int) -> Iterator[httpx.Client]:
    """Return a connection to a given worker process."""
    with ExitStack() as stack:
        while True:
            before = connections(worker, server.port)
            lasting = httpx.Limits(keepalive_expiry=None)  # another connection could go to another worker
            client = httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False, limits=lasting)
            stack.enter_context(client).get("/livez")
            if connections(worker, server.port) > before:
                yield client
                return


def loads(server: ServerProcess) -> tuple[int, int]:
    """Return the numbers of loaded and refused versions."""
    loaded, refused = (metric(server, "sentiment_model_loads_total", outcome=each) for each in ("loaded", "refused"))
    return int(loaded), int(refused)


def gauge(server: ServerProcess) -> set[tuple[str, ...]]:
    """Return the model, version, state and reason of the versions in the metrics."""
    samples = series(server.metrics())
    rows = [dict(labels) for name, labels in samples if name == "sentiment_model_state"]
    return {(row["model"], row["version"], row["state"], row["reason"]) for row in rows}


def copy_slowly(artifact: Path, place: Path, pause: Callable[[], None]) -> None:
    """Copy an artifact slowly in pieces, so that scans happen in between."""
    place.mkdir()
    for name in ("model.onnx", "manifest.json", "tokenizer.json"):
        content = (artifact / name).read_bytes()
        half = len(content) // 2
        for piece in (content[:half], content[half:]):
            with (place / name).open("ab") as file:
                file.write(piece)
            pause()


def test_versions_come_and_go_under_traffic(server: ServerProcess, repository: Path, tmp_path_factory: Any) -> None:
    """Good versions are loaded, corrupt ones refused and deleted ones dropped; no request fails or mixes versions."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for version in (1, 2, 3):
        publish(elsewhere, version)
    with Traffic(server) as traffic:
        traffic.until(1)

        publish(repository, 2)
        traffic.until(2)
        eventually(lambda: state(server, 1)[0] == "UNAVAILABLE")
        assert state(server, 1) == ("UNAVAILABLE", "not among the versions to serve: newest:1")
        assert versions(server, 8) == {"2": 8}
        assert loads(server) == (1, 0)

        copy_slowly(elsewhere / "tickets" / "3", repository / "tickets" / "3", traffic.flow)
        traffic.until(3)
        eventually(lambda: state(server, 2)[0] == "UNAVAILABLE")
        assert versions(server, 8) == {"3": 8}
        loaded, refused = loads(server)
        assert loaded == 2

        graph = publish(elsewhere, 4).path / "model.onnx"
        content = graph.read_bytes()
        graph.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        graph.parent.rename(repository / "tickets" / "4")
        graph = repository / "tickets" / "4" / "model.onnx"
        server.wait_for_log(rf"ERROR .*refused a version of tickets: {graph}.* version=4 fault=damaged")
        name, reason = state(server, 4)
        assert name == "UNAVAILABLE" and "SHA-256" in reason and str(graph) in reason
        assert gauge(server) == {
            ("calls", "1", "ready", ""),
            ("tickets", "3", "ready", ""),
            ("tickets", "4", "refused", "damaged"),
        }
        assert loads(server) == (2, refused + 1)
        [_, status] = sorted(
            server.client.get("/v1/models/tickets").json()["model_version_status"], key=lambda each: each["version"]
        )
        assert (status["state"], status["status"]["error_message"]) == ("END", reason)
        traffic.flow()
        assert loads(server) == (2, refused + 1), "it is refused once"
        assert versions(server, 8) == {"3": 8}

        graph.write_bytes(content)
        traffic.until(4)
        eventually(lambda: ("tickets", "3", "ready", "") not in gauge(server))
        assert gauge(server) == {("calls", "1", "ready", ""), ("tickets", "4", "ready", "")}
        assert versions(server, 8) == {"4": 8}

        wrong = {"text": "praise praise question", "probabilities": GOLDEN.tolist()}
        publish_strength(repository, strength(5), golden=wrong)
        server.wait_for_log(r"refused a version of tickets: .*5/model.onnx: answers the golden text .* fault=graph")
        assert ("tickets", "5", "refused", "graph") in gauge(server)
        shutil.rmtree(repository / "tickets" / "5")
        eventually(lambda: state(server, 5) == ("", ""))

        shutil.rmtree(repository / "tickets" / "4")
        before = traffic.seen[3]
        traffic.more(3, before + 1)
        eventually(lambda: state(server, 4) == ("", ""))
        assert versions(server, 8) == {"3": 8}

        traffic.flow()
    assert not traffic.faults
    assert set(traffic.seen) == {1, 2, 3, 4}
    kill_children(server.process.pid)
    assert versions(server, 8) == {"3": 8}, "workers that are forked later serve the same"
    assert snapshots(server.process.pid) == 1, "of what is served and came later"
    eventually(lambda: [snapshots(pid) for pid in children(server.process.pid)] == [0, 0])
    assert gauge(server) == {("calls", "1", "ready", ""), ("tickets", "3", "ready", "")}


def snapshots(pid: int) -> int:
    """Return the versions whose files a process has in memory."""
    held = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            held += "memfd:artifact" in str(descriptor.readlink())
    return held


def test_loads_and_unloads_under_traffic(server: ServerProcess, repository: Path) -> None:
    """Concurrent loads and unloads of one model do not affect the other one, and all workers agree."""
    publish_table(repository, name="calls")
    unload, load = (f"/v2/repository/models/calls/{each}" for each in ("unload", "load"))

    def storm(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
            for turn in range(6):
                status = client.post(unload if (number + turn) % 2 else load).status_code
                assert status in (200, 400, 404)

    def storm_grpc() -> None:
        with connect(server) as channel:
            stub: Any = GRPCInferenceServiceStub(channel)
            for turn in range(6):
                try:
                    if turn % 2:
                        stub.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="calls"))
                    else:
                        stub.RepositoryModelLoad(oip.RepositoryModelLoadRequest(model_name="calls"))
                except grpc.RpcError as error:
                    refusal: Any = error
                    assert refusal.code().name in ("NOT_FOUND", "INVALID_ARGUMENT")

    with Traffic(server) as traffic:
        traffic.until(1)
        callers = [threading.Thread(target=storm, args=(number,)) for number in range(4)]
        callers.append(threading.Thread(target=storm_grpc))
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(PATIENCE)
        client = server.client
        client.post(load)
        assert client.post(unload).status_code == 200
        assert asked(server, "calls") == {"404": 8}
        traffic.flow()
        assert index(server.client)["calls", "2"] == ("UNAVAILABLE", "unloaded"), "the watcher leaves it so"
        assert client.post(load).status_code == 200
        assert asked(server, "calls") == {"2": 8}
    assert not traffic.faults
    assert "Traceback" not in "".join(server.log)


def test_unload_lets_requests_finish(repository: Path) -> None:
    """Running requests of a model that is unloaded get their answers, and later ones are told that it is unloaded."""
    shutil.copytree(MODEL_REPOSITORY / "imdb-cnn", repository / "imdb-cnn")
    tokenizer = read_artifact(repository / "imdb-cnn" / "1").tokenizer
    assert isinstance(tokenizer, VocabularyTokenizer)
    words = tokenizer.words
    text = " ".join(sorted(words, key=len)[:399])
    count = 20_000  # texts, some seconds of work: an unload takes a few hundredths of one
    body = json.dumps({"texts": [text] * count, "model": "imdb-cnn"}).encode()
    texts = ("--max-batch-texts", str(count), "--max-pending-texts", str(count))
    sizes = ("--max-body-bytes", str(10**8), "--max-buffered-bytes", str(10**9))
    flags = ("--workers", "2", "--default-model", "tickets", "--admin", "open", "--request-timeout", str(PATIENCE))
    with ServerProcess(*flags, *texts, *sizes, repository=repository) as server, ThreadPoolExecutor(1) as pool:
        url = f"{server.url}/v1/predict_batch"

        def overtakes() -> bool:
            """Whether an unload ended before a request that it came after, which does not fail in either case."""
            assert server.client.post("/v2/repository/models/imdb-cnn/load").status_code == 200
            running = pool.submit(httpx.post, url, content=body, timeout=PATIENCE, trust_env=False)

            def runs() -> bool:
                return metric(server, "sentiment_texts_waiting") > 0

            eventually(lambda: running.done() or runs())
            assert server.client.post("/v2/repository/models/imdb-cnn/unload").status_code == 200
            overtook = runs()
            answer = running.result()
            assert answer.status_code == 200
            assert Counter(each["model"]["version"] for each in answer.json()["predictions"]) == {"1": count}
            assert asked(server, "imdb-cnn") == {"404": 8}
            return overtook

        eventually(overtakes)  # on a busy machine, the request can be answered first


def asked(server: ServerProcess, model: str, version: str = "") -> Counter[str]:
    """Return the version that answers on each of eight connections, or the status of the error."""
    found: Counter[str] = Counter()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False)) for _ in range(8)
        ]
        for client in clients:
            answer = client.post("/v1/predict", json={"text": "x", "model": model, "version": version})
            found[answer.json()["model"]["version"] if answer.status_code == 200 else str(answer.status_code)] += 1
    return found


@pytest.fixture
def both(repository: Path) -> Iterator[ServerProcess]:
    """Serve the two newest of three versions of `tickets` with two workers that follow the repository."""
    publish(repository, 2)
    publish(repository, 3)
    flags = ("--workers", "2", "--default-model", "tickets", "--versions", "newest:1 tickets=newest:2", *WATCH)
    with ServerProcess(*flags, repository=repository) as process:
        yield process


def by_version(server: ServerProcess, model: str, version: str) -> dict[str, float]:
    """Return the score of one positive word over every protocol that can name a version."""

    def post(path: str, **body: Any) -> Any:
        return server.client.post(path, json=body).raise_for_status().json()

    place = f"models/{model}" + (f"/versions/{version}" if version else "")
    named: dict[str, Any] = {"model": model, "version": version}
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["praise"]}
    wish = [{"name": "score"}]
    scores: dict[str, Any] = {
        "native": post("/v1/predict", text="praise", **named)["score"],
        "native batch": post("/v1/predict_batch", texts=["praise"], **named)["predictions"][0]["score"],
        "open inference": post(f"/v2/{place}/infer", inputs=[tensor], outputs=wish)["outputs"][0]["data"][0],
        "TensorFlow Serving": post(f"/v1/{place}:predict", instances=["praise"])["predictions"][0]["score"],
    }
    message = oip.ModelInferRequest(model_name=model, model_version=version)
    message.inputs.add(name="text", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(b"praise")
    message.outputs.add(name="score")
    with connect(server) as channel:
        sentiment: Any = SentimentStub(channel)
        infer: Any = GRPCInferenceServiceStub(channel)
        request = pb.PredictRequest(text="praise", **named)
        batch = sentiment.PredictBatch(pb.PredictBatchRequest(texts=["praise"], **named))
        return scores | {
            "open inference, gRPC": np.frombuffer(infer.ModelInfer(message).raw_output_contents[0], "<f4")[0],
            "typed": sentiment.Predict(request).score,
            "typed batch": batch.predictions[0].score,
            "typed stream": next(sentiment.PredictStream(iter([request]))).score,
        }


def test_versions_side_by_side(both: ServerProcess, repository: Path) -> None:
    """Every protocol answers with the named version, and with the newest if the request names none."""
    for version, answering in {"": 3, "3": 3, "2": 2}.items():
        scores = by_version(both, "tickets", version)
        assert scores == pytest.approx(dict.fromkeys(scores, answers(answering)), abs=1e-6)
    client = both.client
    for path, body in (
        ("/v1/models/tickets/versions/2:predict", {"instances": ["praise"]}),
        ("/v1/models/tickets:predict", {"instances": ["praise"]}),
        ("/", {"inputs": "praise"}),
        ("/predict", {"inputs": "praise"}),
        ("/invocations", {"inputs": "praise"}),
    ):
        headers = client.post(path, json=body).headers
        expected = "2" if "versions/2" in path else "3"
        assert (headers["x-model-name"], headers["x-model-version"]) == ("tickets", expected)
    assert client.get("/v2/models/tickets").json()["versions"] == ["2", "3"]
    assert [each["version"] for each in client.get("/v1/models").json()["models"]] == ["1", "3", "2"]
    assert [each["version"] for each in client.get("/v1/models/tickets").json()["model_version_status"]] == ["3", "2"]
    assert [each["version"] for each in client.get("/v2/models/tickets/stats").json()["model_stats"]] == ["3", "2"]
    for version, count in {"3": 2 * 8 + 4, "2": 8 + 1}.items():
        counted = partial(metric, both, "sentiment_texts_total", model="tickets", version=version)
        eventually(lambda counted=counted, count=count: counted() >= count)  # type: ignore[misc]
        assert counted() == count
    assert state(both, 1) == ("UNAVAILABLE", "not among the versions to serve: newest:2")
    assert client.post("/v1/predict", json={"text": "x", "version": "1"}).status_code == 404
    publish(repository, 4)
    eventually(lambda: asked(both, "tickets", "2") == {"404": 8})
    assert asked(both, "tickets", "3") == {"3": 8}
    assert asked(both, "tickets") == {"4": 8}


def test_deleted_models(server: ServerProcess, repository: Path) -> None:
    """A deleted model is unloaded unless it is the default, and all models stay if the repository is lost."""
    hidden = repository.with_name("hidden")
    repository.rename(hidden)
    server.wait_for_log(rf"WARNING .*{repository}: cannot be read .*; the served versions stay")
    assert asked(server, "calls") == asked(server, "") == {"1": 8}
    assert server.client.post("/v2/repository/index").status_code == 503
    assert server.client.post("/v2/repository/models/calls/load").status_code == 503
    hidden.rename(repository)

    shutil.rmtree(repository / "tickets")
    server.wait_for_log(r"contains no model 'tickets' any more; the served versions stay")
    assert state(server, 1) == ("READY", "its folder was removed")
    shutil.rmtree(repository / "calls")
    server.wait_for_log(rf"{repository} contains no model any more; the served versions stay")
    publish_table(repository, name="others")
    eventually(lambda: asked(server, "calls") == {"404": 8})
    eventually(lambda: asked(server, "others") == {"1": 8})
    assert asked(server, "") == {"1": 8} and server.client.get("/readyz").status_code == 200
    kill_children(server.process.pid)
    assert asked(server, "") == asked(server, "others") == {"1": 8}, "what was read once is not read again"
    publish_strength(repository, strength(7))

    def replaced() -> bool:
        score = server.client.post("/v1/predict", json={"text": "praise"}).json()["score"]
        return bool(score == pytest.approx(answers(7), abs=1e-6))

    eventually(replaced)


def test_mounts_of_kubernetes(tmp_path: Path) -> None:
    """The service follows a read-only volume that is replaced with a link, as Kubernetes does."""
    mount = tmp_path / "mount"
    for number, folder in enumerate(("..2026_01", "..2026_02"), 1):
        publish(mount / folder, 1)
        if number == 2:
            publish(mount / folder, 2)
    (mount / "..data").symlink_to("..2026_01")
    (mount / "tickets").symlink_to("..data/tickets")
    with ServerProcess("--workers", "1", *WATCH, repository=mount) as server:
        assert versions(server, 2) == {"1": 2}
        (mount / "..data_tmp").symlink_to("..2026_02")
        (mount / "..data_tmp").rename(mount / "..data")
        eventually(lambda: versions(server, 1) == {"2": 1})
        expected = {
            ("tickets", "1"): ("UNAVAILABLE", "not among the versions to serve: newest:1"),
            ("tickets", "2"): ("READY", ""),
        }
        eventually(lambda: index(server.client) == expected)  # requests for version 1 end after version 2 answers
        assert "refused" not in "".join(server.log) and "ignored" not in "".join(server.log)


def test_most_versions(tmp_path: Path) -> None:
    """More versions than can be served at once are refused, also at the start, until others leave room for them.

    A version that replaces another needs no room.
    """
    repository = tmp_path / "models"
    limit = patch(tmp_path / "limit", "from sentiment_conv1d.artifact import limits; limits.MAX_MODELS = 3")
    publish_table(repository, name="calls")
    for version in (1, 2, 3):
        publish(repository, version)
    flags = ("--versions", "all calls=newest:1", "--default-model", "tickets", *WATCH)
    with ServerProcess(*flags, repository=repository, PYTHONPATH=limit) as server:
        assert index(server.client)["tickets", "1"] == ("UNAVAILABLE", "3 versions are served at once")
        publish(repository, 4)
        server.wait_for_log("refused a version of tickets: 3 versions are served at once version=4")
        publish_table(repository, name="calls")
        server.wait_for_log("stopped serving a version of calls version=1")
        shutil.rmtree(repository / "tickets" / "3")
        server.wait_for_log("serving tickets version=4")
        shutil.rmtree(repository / "tickets" / "4")
        server.wait_for_log("serving tickets version=1")
        served = [("calls", "2"), ("tickets", "1"), ("tickets", "2")]
        eventually(lambda: [key for key, state in index(server.client).items() if state == ("READY", "")] == served)
        assert len([line for line in server.log if "refused a version" in line]) == 2


#: Read by every Python at its start. Workers open versions on another thread than the main one, other processes on the
#: main thread.
PATCH = """
import os
import threading
import time
import sentiment_conv1d.inference.classifier
Classifier = sentiment_conv1d.inference.classifier.Classifier
opened = Classifier.__init__
def open(self, artifact, **keywords):
    if artifact.manifest.version == 2 and (threading.current_thread() is threading.main_thread()) == ON_MAIN_THREAD:
        FAULT()
    opened(self, artifact, **keywords)
Classifier.__init__ = open
if os.environ.get("APART"):
    from sentiment_conv1d.inference import provider
    provider.choose = lambda asked, artifact, device: provider.Choice(provider.CUDA)
"""


def patched(folder: Path, fault: str, *, on_main_thread: bool = False, **variables: str) -> dict[str, str]:
    """Return the environment of a server in which opening version 2 of any model ends in a call."""
    source = PATCH.replace("ON_MAIN_THREAD", str(on_main_thread)).replace("FAULT()", fault)
    return {"PYTHONPATH": patch(folder, source)} | variables


def test_version_that_never_ends(repository: Path) -> None:
    """A version that does not open in time is refused, no request fails, no worker ends, and later versions load."""
    flags = ("--workers", "2", "--default-model", "tickets", "--load-timeout", "15", *WATCH)
    with ServerProcess(*flags, repository=repository) as server, Traffic(server) as traffic:
        before = children(server.process.pid)
        publish_table(repository, endless_graph())
        eventually(lambda: state(server, 2) == ("LOADING", ""))
        traffic.flow()
        server.wait_for_log(r"refused a version of tickets: it did not open .* within 15 s .*version=2 fault=timeout")
        assert ("tickets", "2", "refused", "timeout") in gauge(server)
        publish(repository, 3)
        traffic.until(3)
        assert children(server.process.pid) == before


def test_version_that_crashes_its_process(repository: Path, tmp_path: Path) -> None:
    """A version that crashes the process that opens it is refused, and no worker ends."""
    variables = patched(tmp_path / "patch", "os.abort()", on_main_thread=True)
    flags = ("--workers", "2", "--default-model", "tickets", *WATCH)
    with ServerProcess(*flags, repository=repository, **variables) as server:
        before = children(server.process.pid)
        publish(repository, 2)
        server.wait_for_log(r"refused .*: the process that opened it was killed by signal 6 .*fault=crashed")
        assert versions(server, 4) == {"1": 4}
        assert children(server.process.pid) == before


def test_version_that_never_ends_in_a_worker(repository: Path, tmp_path: Path) -> None:
    """A worker that alone does not open a version in time is replaced, the version refused, and later ones load."""
    variables = patched(tmp_path / "patch", "time.sleep(3600)")
    flags = ("--workers", "2", "--default-model", "tickets", "--load-timeout", "10", *WATCH)
    with ServerProcess(*flags, repository=repository, **variables) as server:
        publish(repository, 2)
        server.wait_for_log(r"refused a version of tickets: a worker took more than 20 s to open it .*fault=timeout")
        server.wait_for_log(r"worker \d hung and is replaced")
        publish(repository, 3)
        eventually(lambda: versions(server, 4) == {"3": 4})
        assert len([line for line in server.log if "is replaced" in line]) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_version_that_crashes_workers(repository: Path, tmp_path: Path, workers: int) -> None:
    """The version is refused when it has crashed one worker, and loads no more until its files change."""
    flags = ("--workers", str(workers), "--default-model", "tickets", *WATCH)
    with ServerProcess(*flags, repository=repository, **patched(tmp_path / "patch", "os.abort()")) as server:
        publish(repository, 2)
        server.wait_for_log(r"refused a version of tickets: a worker ended while it opened it .*fault=crashed")
        eventually(lambda: len(children(server.process.pid)) == workers)
        assert versions(server, 9) == {"1": 9}
        assert ("tickets", "2", "refused", "crashed") in gauge(server)
        publish(repository, 3)
        eventually(lambda: versions(server, 4) == {"3": 4})  # the scans before it left version 2 alone
        assert len([line for line in server.log if "is replaced" in line]) == 1
        (repository / "tickets" / "2" / "model.onnx").touch()
        shutil.rmtree(repository / "tickets" / "3")
        eventually(lambda: len([line for line in server.log if "is replaced" in line]) == 2)


def test_workers_that_open_for_themselves(repository: Path, tmp_path: Path) -> None:
    """A worker that cannot share the parent's session, as on a GPU, opens the files that the parent read."""
    variables = patched(tmp_path / "patch", "pass", APART="1")
    flags = ("--workers", "2", "--default-model", "tickets", "--version-labels", "tickets=stable:1", *WATCH)
    with ServerProcess(*flags, repository=repository, **variables) as server:
        assert not [line for line in server.log if "which is not served" in line]
        shutil.rmtree(repository / "tickets")
        kill_children(server.process.pid)
        assert versions(server, 4) == {"1": 4}


def test_loading(repository: Path) -> None:
    """While workers open a version one after the other, every worker reports that it is loading."""
    flags = ("--workers", "3", "--default-model", "tickets", *WATCH)
    with ServerProcess(*flags, repository=repository) as server:
        _, second, third = children(server.process.pid)
        with client_of(server, third) as looking:
            pause(second)  # which comes before the third
            publish(repository, 2)
            eventually(lambda: state(server, 2, looking) == ("LOADING", ""))
            assert state(server, 1, looking) == ("READY", "")
            os.kill(second, signal.SIGCONT)
            eventually(lambda: state(server, 2, looking) == ("READY", ""))
            eventually(lambda: state(server, 1, looking)[0] == "UNAVAILABLE")


def test_unloading(server: ServerProcess) -> None:
    """While a request for an unloaded model runs in any worker, every worker reports that it is unloading."""
    first, second = children(server.process.pid)
    texts = ["a " * 3900] * 1024  # as much work as a body can hold
    with (
        client_of(server, first) as looking,
        client_of(server, first) as unloading,
        client_of(server, second) as asking,
        ThreadPoolExecutor() as pool,
    ):
        answers: list[Future[httpx.Response]] = []

        def metrics() -> str:
            return looking.get("/metrics").text

        def runs(exposition: str) -> bool:
            waiting = re.search(r"^sentiment_texts_waiting (\S+)$", exposition, re.MULTILINE)
            assert waiting is not None
            return float(waiting[1]) >= weigh(len(texts), sum(map(len, texts)))  # fewer count while the body is parsed

        def new_metrics() -> str:
            """Return metrics that were not yet composed at the call: scrapes share them, and each scrape counts."""
            shared, found = metrics(), ""

            def is_new() -> bool:
                nonlocal found
                found = metrics()
                return found != shared

            eventually(is_new)
            return found

        def caught() -> bool:
            """Whether a worker was stopped during a request. Each attempt sends one more request."""
            before = processor_seconds(second)
            answer = pool.submit(asking.post, "/v1/predict_batch", json={"texts": texts})
            answers.append(answer)
            eventually(lambda: processor_seconds(second) > before + 0.04 or answer.done())
            pause(second)
            if runs(new_metrics()):
                return True
            os.kill(second, signal.SIGCONT)
            answer.result()
            return False

        eventually(caught)
        unload = pool.submit(unloading.post, "/v2/repository/models/tickets/unload")
        eventually(lambda: state(server, 1, looking) == ("UNLOADING", "requests for it still run"))
        os.kill(second, signal.SIGCONT)
        assert (answers[-1].result().status_code, unload.result().status_code) == (200, 200)
        eventually(lambda: state(server, 1, looking) == ("UNAVAILABLE", "unloaded"))
