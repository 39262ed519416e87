"""Masks remove what they name, and nothing else."""

# ruff: noqa: RUF001 - letters of other scripts are what these tests are about

from __future__ import annotations

import re
from pathlib import Path
from unicodedata import category, normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.telemetry.masking import MAX_NAMES_BYTES, Mask, read_names

NAMES = "Anna\nMary-Jane O'Brien\nRené\nnumber\nfilm name\nстрасса\n"

#: Texts that contain addresses, numbers, names and what is almost one of them.
PARTS = st.sampled_from(
    [
        *(
            "Anna",
            "ANNA",
            "mary",
            "jane",
            "o'brien",
            "René",
            "film",
            "name",
            "@",
            ".",
            "/",
            ":",
            "://",
            "[",
            "]",
            "[name]",
        ),
        *(
            "me@mail.example",
            "http://u:p@host/x",
            "1,234.5",
            "٣",
            "½",
            " ",
            "\n",
            "\N{COMBINING ACUTE ACCENT}",
            "-",
            "_",
        ),
    ]
)
TEXTS = st.lists(PARTS | st.text(max_size=5), max_size=12).map("".join)


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Mask:
    """A mask with the names of a file."""
    path = tmp_path_factory.mktemp("names") / "names"
    path.write_text(NAMES, encoding="utf-8")
    return Mask(read_names(path))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Seen 3 times, 12/05/2024 at 10:30.", "Seen [number] times, [number] at [number]."),
        (
            "Call +49 170-1234567, IBAN DE89 3704, ½ or ٤٥",
            "Call +[number] [number], IBAN [number] [number], [number] or [number]",
        ),
        ("(write to jo.e+x@mail.example.)", "(write to [email].)"),
        ("(-@mail.example) +@- '@someone' .@", "([email]) [email] '@someone' .@"),
        ("jose\N{COMBINING ACUTE ACCENT}@x.example 请写信至a＠b.cn。", "[email] [email]。"),
        ("see (https://jo:secret@host.example/a?b), ok", "see ([url]), ok"),
        ("see https://host.example/films and @someone", "see https://host.example/films and @someone"),
        ("ANNA's, not Annabel: anna", "[name]'s, not Annabel: [name]"),
        ("Mary Jane O’Brien; Mary; O'Brien", "[name]; Mary; O'Brien"),
        ("Rene\N{COMBINING ACUTE ACCENT}! RENÉ, Rene", "[name]! [name], Rene"),
        ("СТРАССА", "[name]"),
    ],
)
def test_examples(mask: Mask, text: str, masked: str) -> None:
    """Numbers, addresses and names become placeholders, and the text around them stays."""
    assert mask(text) == masked


@given(TEXTS)
@example("film Anna")  # its mask contains a name across a placeholder: `film [name]`
@example("a://b@c a@b@c @@ x@[1.2.3.4] -@Anna a@- b-@-c")
def test_properties(mask: Mask, text: str) -> None:
    """No digit, address or name of a text is in its mask, and the mask of a mask is itself."""
    masked = mask(text)
    assert mask(masked) == masked
    assert not any(category(character)[0] == "N" for character in masked)
    assert not re.search(r"[\w.+-]+[@＠﹫][\w-]+", masked)
    outside = masked.replace("[name]", " ")
    kinds = ((each, category(each)) for each in normalize("NFC", outside.casefold()))
    letters = "".join("x" if kind[0] == "M" else each for each, kind in kinds if kind != "Cf")
    assert not re.search(r"(?<!\w)(anna|rené)(?!\w)", letters)


@given(
    st.text(st.characters(exclude_categories=["N"], exclude_characters="@＠﹫")), st.sampled_from([7, "a@b.example"])
)
def test_what_is_not_masked(text: str, secret: object) -> None:
    """A text without anything to mask stays the same, also beside something that is masked."""
    mask = Mask()
    assert mask(text) == text
    assert re.fullmatch(rf"{re.escape(text)} \[\w+\] {re.escape(text)}", mask(f"{text} {secret} {text}"))


@pytest.mark.parametrize(
    "part",
    [
        *("a", "@", "a@", "a://", "a.", "1.", "aa ", "_", "[", "\N{COMBINING ACUTE ACCENT}"),
        "\N{COMBINING COMMA ABOVE RIGHT}\N{COMBINING ACUTE ACCENT}",
    ],
    ids=ascii,
)
def test_linear(part: str) -> None:
    """Texts of a megabyte with which backtracking or sorting accents is quadratic are masked, not in hours."""
    text = "a" + part * (1_000_000 // len(part)) + "@"
    assert len(Mask([("aa", "aa", "bb")])(text)) <= len("[number]") * len(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "{path} cannot be read (No such file or directory)"),
        (b"", "{path} contains no name"),
        (b"Anna\n\xff", "{path} is not UTF-8 text"),
        (b"Anna\n\n--\n", "{path}, line 3: a name has 1 to 8 words, not 0"),
        (b"a b c d e f g h i", "{path}, line 1: a name has 1 to 8 words, not 9"),
        (b"a\n" * (MAX_NAMES_BYTES // 2) + b"b", "{path} is larger than 8 MiB"),
    ],
)
def test_invalid_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    """An invalid file of names is refused in one line that names the file and quotes no name."""
    path = tmp_path / "names"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartupError) as error:
        read_names(path)
    assert str(error.value) == "--request-log-names: " + message.format(path=path)
