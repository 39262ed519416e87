"""`python -m benchmarks` runs sections and prints tables for the documentation."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks.__main__ import SECTIONS
from tests.processes import PROJECT, run


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("costs", "| µs of processor time per request | whole | 20 words |"),
        (
            "transformer",
            "| one core, in process | texts/s, whole | texts/s, 20 words | memory MB | s to the first answer "
            "| weights MB | accuracy, 36 domains, positive against negative "
            "| accuracy, films, positive against negative |",
        ),
        ("serving.cold_start", "| models | s to the first answer | processor s | MiB |"),
        (
            "serving.text_onnx",
            "| model | service, µs, whole | `text.onnx`, µs, whole | ratio, whole | service, µs, 20 words "
            "| `text.onnx`, µs, 20 words | ratio, 20 words |",
        ),
        (
            "accuracy.training",
            "| set | rows | default | baseline | difference | processor seconds |",
        ),
        (
            "accuracy.few_rows",
            "| domain | rows | `reviews`, as shipped | your network | continued | kept | linear | processor seconds "
            "| `reviews` on its domains | kept, on these domains |",
        ),
        (
            "accuracy.domains",
            "| | mean of the domains | trained | never trained | 11 to 20 words | IMDB | µs a whole review |",
        ),
        ("accuracy.neutral", "| | reviews |"),
        ("accuracy.typed", "| | reviews |"),
        (
            "stops",
            "| repeated | sentences | words | replaced strings | kept characters | marks | characters "
            "| n-grams of words | words of any script | n-grams of characters | subwords |",
        ),
        ("scoring", "| | reviews/s | relative to twice one core | CPU µs per review |"),
        (
            "explaining",
            "| µs per text | request, whole | request, 20 words | in process, whole | in process, 20 words |",
        ),
    ],
)
def test_sections(name: str, head: str) -> None:
    """A section prints the machine and a complete table without NaN."""
    finished = run("-m", "benchmarks", "--quick", name)
    assert finished.returncode == 0, finished.stderr
    assert f"## {name}" in finished.stdout and "onnxruntime" in finished.stdout
    lines = finished.stdout.splitlines()
    start = lines.index(head)
    rows = [line for line in lines[start + 2 :] if line.startswith("|")]
    assert rows and all(row.count("|") == head.count("|") and "nan" not in row for row in rows)


def test_modules_of_sections() -> None:
    """Every section is a module, and the pages that quote it exist."""
    for name, section in SECTIONS.items():
        assert importlib.util.find_spec(f"benchmarks.{name}") is not None
        assert all((PROJECT / "docs" / page).is_file() for page in section.pages)


def test_unknown_section() -> None:
    """An unknown section exits with status 2, and nothing is measured."""
    finished = run("-m", "benchmarks", "costs", "speed")
    assert finished.returncode == 2
    assert "there is no section speed" in finished.stderr and finished.stdout == ""
