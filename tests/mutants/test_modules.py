"""What `make mutants` reports, and that its list of modules follows renames."""

import pytest

from tests.mutants.__main__ import MODULES, PROJECT, Mutant, report


def test_paths() -> None:
    """Every listed module and test exists."""
    paths = [path for module, entry in MODULES.items() for path in (module, *entry["tests"])]
    assert [path for path in paths if not (PROJECT / path).is_file()] == []


KILLED = [Mutant(line, f"killed {line}", True) for line in range(1, 10)]
ALIVE = [Mutant(line, f"alive {line}", False) for line in range(10, 12)]


@pytest.mark.parametrize(
    ("found", "equivalent", "printed", "passes"),
    [
        (KILLED + ALIVE[:1], [], ["m: 90% of 10 mutants killed", "  m:10: alive 10"], True),
        (KILLED + ALIVE, [], ["m: 82% of 11 mutants killed", "  m:10: alive 10", "  m:11: alive 11"], False),
        (KILLED + ALIVE, ["alive 10"], ["m: 90% of 10 mutants killed", "  m:11: alive 11"], True),
        (KILLED, ["gone"], ["m: 100% of 9 mutants killed", "  m: no mutant is equivalent: gone"], False),
    ],
)
def test_report(
    found: list[Mutant],
    equivalent: list[str],
    printed: list[str],
    passes: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Equivalent mutants do not count, nine of ten others must be killed, and an equivalent line must be a mutant."""
    assert report("m", found, equivalent) == passes
    assert capsys.readouterr().out.splitlines() == printed
