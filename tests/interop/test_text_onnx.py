"""`text.onnx` answers as the service does in onnxruntime-node, and in onnxruntime-web under Node and in Chromium."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.chromium import browser
from tests.export.conversion.test_page import PAGE, example, write_file
from tests.interop import programs
from tests.processes import PATIENCE
from tests.programs import needed
from tests.text_graphs import NAMES, Case, case

__all__ = ["browser"]

HERE = Path(__file__).parent

RUNTIMES = ("onnxruntime-node", "onnxruntime-web")

#: The most texts that a runtime reads together.
BATCH = 16

#: The files of onnxruntime-web beside a page, as docs/text-onnx.md lists them, and the types of all files.
WEB = programs.NODE_MODULES / "onnxruntime-web" / "dist"
TYPES = {
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".html": "text/html",
    ".onnx": "application/octet-stream",
}

#: The strictest policy with which a page can run a file.
POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' 'unsafe-inline'; connect-src 'self'"


@pytest.fixture(scope="module", params=NAMES)
def compared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Write the file of each shipped model and of each form of vocabulary."""
    return case(request.param, tmp_path_factory.mktemp("text"))


def batches(texts: list[str]) -> Iterator[list[str]]:
    return (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))


def check(compared: Case, answers: list[dict[str, list[str]]]) -> None:
    """Compare answers to batches with those of the service."""
    labels = [label for each in answers for label in each["label"]]
    numbers = np.array([number for each in answers for number in each["probabilities"]], np.float32)
    compared.check(labels, numbers.reshape(compared.probabilities.shape))


@pytest.mark.parametrize("name", RUNTIMES)
def test_node(name: str, compared: Case) -> None:
    """Both runtimes of Node give the labels and probabilities of the service."""
    needed(programs.NODE_MODULES / name)
    program = programs.node(HERE / "node/text.js")
    lines = "".join(json.dumps(batch) + "\n" for batch in batches(compared.texts))
    finished = subprocess.run(
        [*program, name, compared.file], input=lines, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True
    )
    check(compared, list(map(json.loads, finished.stdout.splitlines())))


def opened(browser: Browser, files: Mapping[str, Path], html: str) -> Page:
    """Open a page beside the files of onnxruntime-web and others, without a server and without another host."""
    needed(WEB)

    def answer(route: Route) -> None:
        name = route.request.url.rpartition("/")[2] or "index.html"
        body = html.encode() if name == "index.html" else files.get(name, WEB / name).read_bytes()
        headers = {"content-type": TYPES[Path(name).suffix], "content-security-policy": POLICY}
        route.fulfill(status=200, headers=headers, body=body)

    page = browser.new_page()
    page.route("http://localhost/**", answer)
    page.route(re.compile("^(?!http://localhost/)"), lambda route: route.abort())
    page.goto("http://localhost/")
    return page


RUN = """async (batches) => {
  const ort = await import("/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create("text.onnx");
  const answers = [];
  for (const texts of batches) {
    const { label, probabilities } = await session.run({ text: new ort.Tensor("string", texts, [texts.length]) });
    answers.push({ label: label.data, probabilities: Array.from(probabilities.data) });
  }
  await session.release();
  return answers;
}"""


class RuntimePage(NamedTuple):
    """A page that has loaded onnxruntime-web, which takes seconds, and the files beside it."""

    page: Page
    files: dict[str, Path]


@pytest.fixture(scope="module")
def runtime(browser: Browser) -> Iterator[RuntimePage]:
    """Open a page for all files."""
    files: dict[str, Path] = {}
    page = opened(browser, files, "<!doctype html>")
    yield RuntimePage(page, files)
    page.close()


def test_chromium(compared: Case, runtime: RuntimePage) -> None:
    """onnxruntime-web gives the labels and probabilities of the service in a browser, under a strict policy."""
    runtime.files["text.onnx"] = compared.file
    check(compared, runtime.page.evaluate(RUN, list(batches(compared.texts))))


@pytest.mark.parametrize("name", RUNTIMES)
def test_node_example(name: str, tmp_path: Path) -> None:
    """The example for Node on the page prints the labels of the page."""
    needed(programs.NODE_MODULES / name)
    write_file(tmp_path)
    program, printed = example("js")
    (tmp_path / "predict.js").write_text(program.replace("onnxruntime-node", name))
    environment = programs.environment(NODE_PATH=str(programs.NODE_MODULES))
    finished = subprocess.run(
        programs.node(tmp_path / "predict.js"),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert finished.stdout.strip() == printed


def test_browser_example(tmp_path: Path, browser: Browser) -> None:
    """The example for browsers shows the label of the page, with the files that the page lists."""
    write_file(tmp_path)
    program, printed = example("html")
    page = opened(browser, {"text.onnx": tmp_path / "text.onnx"}, program)
    expect(page).to_have_title(printed)
    assert all((WEB / name).is_file() for name in re.findall(r"`(ort[\w.-]+)`", PAGE))
    page.close()
