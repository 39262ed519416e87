"""The artifact is written completely or not at all, and refused by name if any part of it changed."""

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.artifact import ArtifactError, check_place, copy, publish, read_artifact, versions
from sentiment_conv1d.artifact.limits import MAX_CONFIGURATION, MAX_DESCRIPTION, MAX_ITEMS, MAX_KEY
from sentiment_conv1d.artifact.manifest import (
    FILES,
    GRAPH_FILE,
    MANIFEST_FILE,
    MOST_BYTES,
    TOKENIZER_FILE,
    Golden,
    Manifest,
    Metrics,
    QuantizationCheck,
)
from sentiment_conv1d.artifact.model_card import CARD_FILE
from sentiment_conv1d.artifact.tokenizer import Tokenizer, WordTokenizer
from tests.processes import SHIPPED_MODELS

SHIPPED = Path(__file__).parents[2] / "model_repository" / "imdb-cnn" / "1"
GRAPH = b"a graph, which this module never opens"
ROUNDING = QuantizationCheck(
    inputs="made up",
    examples=4,
    largest_difference=0.25,
    mean_difference=0.125,
    changed_labels=1,
    accuracy=None,
    float32_accuracy=None,
)


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "created": "2026-01-01T00:00:00+00:00",
        "labels": ("no", "yes"),
        "activation": "sigmoid",
        "max_tokens": 5,
        "vocabulary_size": 4,
        "convolution_widths": (3,),
        "leading_padding": 3,
        "configuration": None,
        "metrics": None,
        "parity": (),
        "golden": Golden(text="fine", probabilities=(0.5,)),
        "libraries": {},
    } | changes


def tokenizer() -> Tokenizer:
    return WordTokenizer(["fine"], max_tokens=5)


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish a small artifact for all examples of a property. Each example restores what it changes."""
    return publish(tmp_path_factory.mktemp("repository"), fields(), GRAPH, tokenizer()).path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Publish a small artifact for one test."""
    return publish(tmp_path, fields(), GRAPH, tokenizer()).path


def test_round_trip(tmp_path: Path) -> None:
    """Reading returns the published graph, tokenizer and fields, and the folder contains no other file."""
    published = publish(tmp_path, fields(), GRAPH, tokenizer())
    read = read_artifact(tmp_path / "tiny" / "1")
    assert read.graph == GRAPH
    assert read.tokenizer.to_json() == tokenizer().to_json()
    assert read.manifest == published.manifest
    assert sorted(entry.name for entry in read.path.iterdir()) == [CARD_FILE, MANIFEST_FILE, GRAPH_FILE, TOKENIZER_FILE]
    assert sorted(entry.name for entry in read.path.parent.iterdir()) == ["1"]


def test_next_version(tmp_path: Path) -> None:
    """Each publication gets the number after the highest one."""
    (tmp_path / "tiny" / "7").mkdir(parents=True)
    assert publish(tmp_path, fields(), GRAPH, tokenizer()).manifest.version == 8
    assert publish(tmp_path, fields(), GRAPH, tokenizer()).manifest.version == 9
    assert versions(tmp_path, "tiny") == [7, 8, 9]


def test_concurrent_publications(tmp_path: Path) -> None:
    """Eight publications at the same time write eight complete versions."""
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(publish, tmp_path, fields(), GRAPH, tokenizer()) for _ in range(8)]
        published = sorted(future.result().manifest.version for future in futures)
    assert published == list(range(1, 9)) == versions(tmp_path, "tiny")
    for version in published:
        assert read_artifact(tmp_path / "tiny" / str(version)).manifest.version == version


@pytest.mark.parametrize("name", ["01", "-1", "1.0", "v1", "\u0661", ".publishing-x", "latest"])
def test_names_of_versions(tmp_path: Path, name: str) -> None:
    """A version is a positive integer in decimal form."""
    (tmp_path / "tiny" / name).mkdir(parents=True)
    assert versions(tmp_path, "tiny") == []


def test_failed_publication(tmp_path: Path) -> None:
    """A tokenizer that contradicts the manifest is refused, and no version is created."""
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: 5 tokens and 4 ids, while manifest\.json says 6 and 4"):
        publish(tmp_path, fields(max_tokens=6), GRAPH, tokenizer())
    assert list((tmp_path / "tiny").iterdir()) == []


def test_file_as_a_repository(tmp_path: Path) -> None:
    """The error names a repository that cannot be created."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written to"):
        publish(tmp_path / "file", fields(), GRAPH, tokenizer())


def test_copy(tiny: Path, tmp_path: Path) -> None:
    """A copy differs only in its name and version, and the source does not change."""
    before = {file.name: file.read_bytes() for file in tiny.iterdir()}
    copied = copy(tiny, tmp_path / "elsewhere" / "other" / "7")
    assert (copied.manifest.name, copied.manifest.version) == ("other", 7)
    check_place(copied)
    source = read_artifact(tiny)
    changed = {"name": "tiny", "version": 1, "manifest_sha256": source.manifest.manifest_sha256}
    assert copied.manifest.model_copy(update=changed) == source.manifest
    assert copied.manifest.manifest_sha256 != source.manifest.manifest_sha256
    assert copied.graph == source.graph and copied.contents[TOKENIZER_FILE] == source.contents[TOKENIZER_FILE]
    assert {file.name: file.read_bytes() for file in tiny.iterdir()} == before
    assert [entry.name for entry in copied.path.parent.iterdir()] == ["7"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("tiny/1", "the folder already exists"),
        ("tiny/latest", "not a folder <repository>/<name>/<version>"),
        ("tiny/02", "not a folder <repository>/<name>/<version>"),
        ("Tiny/2", "not a folder <repository>/<name>/<version>"),
        ("file/2", "cannot be written to"),
    ],
)
def test_invalid_targets_of_copies(tiny: Path, tmp_path: Path, target: str, reason: str) -> None:
    """A copy never replaces an artifact, and needs a target that a repository would serve."""
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArtifactError, match=reason):
        copy(tiny, tmp_path / target)
    assert sorted(tmp_path.rglob("*")) == before


def test_copy_of_a_changed_artifact(tiny: Path, tmp_path: Path) -> None:
    """A changed artifact is not copied, because the copy would get a matching manifest."""
    (tiny / GRAPH_FILE).write_bytes(GRAPH.upper())
    with pytest.raises(ArtifactError, match="the file was changed"):
        copy(tiny, tmp_path / "tiny" / "2")


@pytest.mark.parametrize("file", [GRAPH_FILE, TOKENIZER_FILE, MANIFEST_FILE])
@given(data=st.data())
def test_changed_byte(restored: Path, file: str, data: st.DataObject) -> None:
    """If any byte of any file changes, the error names the file."""
    path = restored / file
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    changed = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[position]))
    try:
        path.write_bytes(content[:position] + bytes([changed]) + content[position + 1 :])
        with pytest.raises(ArtifactError, match=file):
            read_artifact(restored)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("file", [GRAPH_FILE, TOKENIZER_FILE, MANIFEST_FILE])
def test_damaged_files(tiny: Path, file: str) -> None:
    """The error names a file that is truncated, too long, missing or a folder."""
    path = tiny / file
    content = path.read_bytes()
    for broken in (b"", content[:-1], content[: len(content) // 2], content + b"\n"):
        path.write_bytes(broken)
        with pytest.raises(ArtifactError, match=file):
            read_artifact(tiny)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{file}: the file is missing"):
        read_artifact(tiny)
    path.mkdir()
    with pytest.raises(ArtifactError, match=f"{file}: cannot be read"):
        read_artifact(tiny)


def test_model_in_place_of_a_version(tiny: Path) -> None:
    """The folder of a model is no artifact, and the error names its newest version."""
    tiny.with_name("10").mkdir()
    with pytest.raises(ArtifactError, match=f"^{tiny.parent}: is a model; name one of its versions, such as .*/10$"):
        read_artifact(tiny.parent)


def test_missing_folder(tmp_path: Path) -> None:
    """The error contains the path."""
    with pytest.raises(ArtifactError, match="nowhere: there is no such artifact folder"):
        read_artifact(tmp_path / "nowhere")


def test_folder_that_cannot_be_looked_into(tmp_path: Path) -> None:
    """If the system does not even say whether there is a folder, as without permission, the artifact is unreadable."""
    with pytest.raises(ArtifactError, match=r"cannot be read \(File name too long\)") as error:
        read_artifact(tmp_path / ("long" * 100))
    assert error.value.fault == "unreadable"


def test_newer_format(tiny: Path) -> None:
    """The error says that the manifest is too new, not that it is broken."""
    path = tiny / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2, "novelty": True}))
    with pytest.raises(ArtifactError, match=r"manifest\.json: format version 2 is newer than .* reads \(1\)"):
        read_artifact(tiny)


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"format_version": "1"}', '{"format_version": true, "x": 1}'])
def test_other_json(tiny: Path, content: str) -> None:
    """Valid JSON that is not a manifest is refused."""
    (tiny / MANIFEST_FILE).write_text(content)
    with pytest.raises(ArtifactError, match=MANIFEST_FILE):
        read_artifact(tiny)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"labels": ("only",)}, "labels"),
        ({"labels": ("a", "b", "c")}, "two labels"),
        ({"activation": "relu"}, "activation"),
        ({"golden": Golden(text="", probabilities=(0.5, 0.5))}, "golden answer must have 1"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"name": "../../etc"}, "name"),
        ({"precision": "int4"}, "precision"),
        ({"precision": "uint8"}, "an 8-bit graph, and no other, states its quantization error"),
        ({"rounding": (ROUNDING,)}, "an 8-bit graph, and no other, states its quantization error"),
    ],
)
def test_invalid_manifest(tiny: Path, changes: dict[str, Any], place: str) -> None:
    """A manifest with a correct digest and impossible fields is refused, and the error names the field."""
    manifest = read_artifact(tiny).manifest.model_copy(update=changes)
    (tiny / MANIFEST_FILE).write_bytes(manifest.to_bytes())
    with pytest.raises(ArtifactError, match=place):
        read_artifact(tiny)


def test_shipped_artifact() -> None:
    """The shipped artifact is valid, trained with the preset on all training reviews, and accurate."""
    manifest = read_artifact(SHIPPED).manifest
    assert (manifest.name, manifest.version, manifest.labels) == ("imdb-cnn", 1, ("negative", "positive"))
    assert (manifest.max_tokens, manifest.vocabulary_size, manifest.convolution_widths) == (400, 5000, (3,))
    assert manifest.metrics is not None
    assert manifest.metrics.examples == 12_500 and "test.parquet" in manifest.metrics.measured_on
    assert manifest.metrics.values["accuracy"] >= 0.884
    assert max(check.largest_difference for check in manifest.parity) <= 1e-5


def test_shipped_8_bit_artifact() -> None:
    """The 8-bit artifact loses at most 0.1 points of accuracy, and no probability differs by more than 0.03."""
    manifest = read_artifact(SHIPPED.parent.parent / "imdb-cnn-8bit" / "1").manifest
    float32 = read_artifact(SHIPPED).manifest
    assert (manifest.name, manifest.precision, manifest.configuration) == (
        "imdb-cnn-8bit",
        "uint8",
        float32.configuration,
    )
    generated, measured = manifest.rounding
    assert (generated.inputs, measured.inputs) == ("generated ids", "12,500 reviews of test.parquet")
    assert measured.accuracy is not None and measured.float32_accuracy is not None
    assert measured.accuracy >= measured.float32_accuracy - 0.001
    assert max(generated.largest_difference, measured.largest_difference) <= 0.03
    assert {check.largest_difference for check in manifest.parity if check.against == "itself"} == {0}


def test_shipped_accurate_artifact() -> None:
    """The artifact `accurate` has an accuracy above 0.92, a calibration error below 0.02 and a graph up to 16 MiB."""
    manifest = read_artifact(SHIPPED.parent.parent / "accurate" / "1").manifest
    assert (manifest.name, manifest.precision) == ("accurate", "uint8")
    assert manifest.metrics is not None and "test.parquet" in manifest.metrics.measured_on
    assert manifest.metrics.values["accuracy"] >= 0.92
    assert manifest.metrics.values["expected_calibration_error"] <= 0.02
    assert manifest.files["model.onnx"].bytes <= 16 * 1024 * 1024
    assert {check.largest_difference for check in manifest.parity if check.against == "itself"} == {0}


def test_shipped_reviews_artifact() -> None:
    """The artifact `reviews` has three labels, the measured accuracy and calibration, and a graph up to 16 MiB."""
    manifest = read_artifact(SHIPPED_MODELS["reviews"]).manifest
    assert (manifest.name, manifest.precision) == ("reviews", "uint8")
    assert (manifest.labels, manifest.activation) == (("negative", "neutral", "positive"), "softmax")
    assert set(manifest.decision.confident_from) == set(manifest.labels)
    assert manifest.metrics is not None and "test.parquet" in manifest.metrics.measured_on
    assert manifest.metrics.values["accuracy"] >= 0.83
    assert manifest.metrics.values["expected_calibration_error"] <= 0.035
    assert manifest.files["model.onnx"].bytes <= 2**24
    assert {check.largest_difference for check in manifest.parity if check.against == "itself"} == {0}


def test_optional_fields(tmp_path: Path) -> None:
    """Newer fields are written only for models that need them, such as 8-bit models."""
    later = {"precision", "rounding"}
    float32 = publish(tmp_path, fields(), GRAPH, tokenizer())
    assert not later & json.loads((float32.path / MANIFEST_FILE).read_text()).keys()
    assert (float32.manifest.precision, float32.manifest.rounding) == ("float32", ())

    quantized = publish(tmp_path, fields(precision="uint8", rounding=(ROUNDING,)), GRAPH, tokenizer())
    assert later <= json.loads((quantized.path / MANIFEST_FILE).read_text()).keys()
    read = read_artifact(quantized.path).manifest
    assert (read.precision, read.rounding) == ("uint8", (ROUNDING,))


def test_moved_artifact(tmp_path: Path) -> None:
    """An artifact does not depend on its location."""
    copy = shutil.copytree(SHIPPED, tmp_path / "copy")
    assert read_artifact(copy).manifest == read_artifact(SHIPPED).manifest


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_digest_of_the_manifest(name: str) -> None:
    """The manifest of every shipped model is written as it was read, and sed and sha256sum can check its digest."""
    content = (SHIPPED_MODELS[name] / MANIFEST_FILE).read_bytes()
    assert Manifest.model_validate_json(content).to_bytes() == content
    assert content.splitlines()[-2].startswith(b'  "manifest_sha256": "')


@pytest.mark.parametrize("file", FILES)
def test_large_file(tiny: Path, file: str) -> None:
    """A file that is larger than its limit is refused by its size, before it is read."""
    os.truncate(tiny / file, MOST_BYTES[file] + 1)
    with pytest.raises(
        ArtifactError, match=rf"^{tiny / file}: .* bytes; {file} has at most {MOST_BYTES[file]:,}$"
    ) as error:
        read_artifact(tiny)
    assert error.value.fault == "large"


TOO_LONG = "x" * (MAX_DESCRIPTION + 1)


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("golden.text", {"golden": {"text": TOO_LONG, "probabilities": (0.5,)}}),
        ("labels", {"labels": tuple(map(str, range(MAX_ITEMS + 1)))}),
        ("libraries", {"libraries": {str(number): "1" for number in range(MAX_ITEMS + 1)}}),
        ("libraries.numpy", {"libraries": {"numpy": "1" * (MAX_KEY + 1)}}),
        ("metrics.values", {"metrics": {"measured_on": "", "examples": 1, "values": {"y" * (MAX_KEY + 1): 1}}}),
        ("decision.chosen_on", {"decision": {"chosen_on": TOO_LONG}}),
        ("configuration", {"configuration": {"notes": "x" * MAX_CONFIGURATION}}),
    ],
)
def test_large_part_of_a_manifest(tmp_path: Path, tiny: Path, place: str, changes: dict[str, Any]) -> None:
    """Neither is a manifest written with a list, a map or a text above its limit, nor is one read."""
    with pytest.raises(ArtifactError, match=rf"^tiny/manifest\.json: {place}\b"):
        publish(tmp_path, fields(**changes), GRAPH, tokenizer())
    assert versions(tmp_path, "tiny") == [1]
    write_document(tiny, changes)
    with pytest.raises(ArtifactError, match=rf"^{tiny}/manifest\.json: {place}\b"):
        read_artifact(tiny)


def write_document(folder: Path, changes: dict[str, Any]) -> None:
    """Change fields of a manifest without any check, except that it states its digest."""
    document = json.loads((folder / MANIFEST_FILE).read_text()) | changes | {"manifest_sha256": "0" * 64}
    content = json.dumps(document)
    digest = hashlib.sha256(content.encode()).hexdigest()
    (folder / MANIFEST_FILE).write_text(content.replace("0" * 64, digest))


def test_large_artifact_is_not_written(tmp_path: Path) -> None:
    """A tokenizer or a manifest that would be refused for its bytes is not written, and the error names it."""
    words = WordTokenizer([f"{number:0200}" for number in range(90_000)], max_tokens=5)
    with pytest.raises(ArtifactError, match=r"^tiny/tokenizer\.json: .* bytes; tokenizer\.json has at most"):
        publish(tmp_path, fields(), GRAPH, words)
    predicted = {f"{number:0200}": number for number in range(MAX_ITEMS)}
    row = {"label": "no", "precision": 0, "recall": 0, "f1": 0, "support": 1, "predicted": predicted}
    metrics = Metrics.model_validate({"measured_on": "", "examples": 1, "values": {}, "per_label": [row] * 2})
    with pytest.raises(ArtifactError, match=r"^tiny/manifest\.json: .* bytes; manifest\.json has at most"):
        publish(tmp_path, fields(metrics=metrics), GRAPH, tokenizer())
    assert versions(tmp_path, "tiny") == []
