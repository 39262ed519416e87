"""The list of modules for `make mutants` follows renames."""

from tests.mutants.__main__ import MODULES, PROJECT


def test_paths() -> None:
    """Every listed module and test exists."""
    paths = [path for module, entry in MODULES.items() for path in (module, *entry["tests"])]
    assert [path for path in paths if not (PROJECT / path).is_file()] == []
