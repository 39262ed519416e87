"""Lets cosmic-ray change one place of a module at a time, and reports the mutants that the module's tests do not kill.

    make mutants ARGS=service/scheduling/batching.py

The mutants are made in a copy of the project, so a run does not disturb other work. modules.toml lists the modules.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]
MODULES = tomllib.loads((Path(__file__).parent / "modules.toml").read_text())

#: One mutation of each kind. The others of cosmic-ray change `+` to `<<` and the like, and almost any test kills them.
OPERATORS = (
    "AddNot|ExceptionReplacer|NumberReplacer|ReplaceAndWithOr|ReplaceBreakWithContinue|ReplaceContinueWithBreak"
    "|ReplaceFalseWithTrue|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceUnaryOperator_Delete_Not|ZeroIterationForLoop"
    "|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_FloorDiv|LShift_RShift|RShift_LShift)"
    "|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Is_IsNot|IsNot_Is)"
)

#: `*` before arguments that need names is no multiplication.
_SIGNATURE = re.compile(r"(async )?def .* /,")

#: A mutant is killed if its tests take so many times as long as those of the original.
_PATIENCE = 10

CONFIGURATION = """
[cosmic-ray]
module-path = {module}
timeout = {timeout}
excluded-modules = []
test-command = {command}
[cosmic-ray.distributor]
name = "local"
[cosmic-ray.filters.operators-filter]
exclude-operators = [{excluded}]
"""


class Mutant(NamedTuple):
    """A change of one place, and whether a test failed because of it."""

    line: int
    changed: str
    killed: bool


def mutants(module: str, programs: Path) -> Iterator[Mutant]:
    """Run the tests of a module on each of its mutants. `programs` is the folder of cosmic-ray's programs."""
    with tempfile.TemporaryDirectory() as folder:
        files = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=PROJECT,
            capture_output=True,
            check=True,
        )
        archive = ["tar", "--create", "--null", "--files-from=-"]
        content = subprocess.run(archive, cwd=PROJECT, input=files.stdout, capture_output=True, check=True)
        subprocess.run(["tar", "--extract"], cwd=folder, input=content.stdout, check=True)

        test = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *MODULES[module]["tests"]]
        excluded = json.dumps(f"^(?!core/({OPERATORS})$).*")
        values = {"module": json.dumps(module), "command": json.dumps(shlex.join(test)), "excluded": excluded}

        def configure(timeout: float) -> None:
            Path(folder, "mutants.toml").write_text(CONFIGURATION.format(timeout=timeout, **values))

        def run(program: str, *arguments: str) -> str:
            done = subprocess.run([programs / program, *arguments], cwd=folder, stdout=subprocess.PIPE, check=True)
            return done.stdout.decode()

        configure(600)
        began = monotonic()
        run("cosmic-ray", "baseline", "mutants.toml")
        configure(_PATIENCE * (monotonic() - began))  # many mutants wait forever
        run("cosmic-ray", "init", "mutants.toml", "session")
        run("cr-filter-operators", "session", "mutants.toml")
        run("cosmic-ray", "exec", "mutants.toml", "session")
        for entry in run("cosmic-ray", "dump", "session").splitlines():
            work, result = json.loads(entry)
            if result["worker_outcome"] != "skipped":
                added = [line[1:].strip() for line in result["diff"].splitlines() if line.startswith("+")]
                line = work["mutations"][0]["start_pos"][0]
                changed = " ".join(added[1:])
                if not _SIGNATURE.match(changed):
                    yield Mutant(line, changed, result["test_outcome"] != "survived")


def report(module: str, found: Collection[Mutant], equivalent: Collection[str]) -> bool:
    """Print the share of a module's mutants that were killed, without equivalent ones, and each survivor.

    Returns whether it is at least 90 %, and every equivalent line is that of a mutant.
    """
    unmatched = set(equivalent) - {each.changed for each in found}
    counted = [each for each in found if each.changed not in equivalent]
    survivors = sorted(each for each in counted if not each.killed)
    share = 1 - len(survivors) / max(1, len(counted))
    print(f"{module}: {share:.0%} of {len(counted)} mutants killed", flush=True)
    for each in survivors:
        print(f"  {module}:{each.line}: {each.changed}", flush=True)
    for line in sorted(unmatched):
        print(f"  {module}: no mutant is equivalent: {line}", flush=True)
    return share >= 0.9 and not unmatched


def main() -> int:
    """Report on each module. Returns 1 if too many mutants of one survive, or one of its equivalent lines is none."""
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--programs", type=Path, required=True, help="folder of cosmic-ray's programs")
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=list(MODULES), help="default: all listed ones")
    options = parser.parse_args()
    if unknown := set(options.modules) - MODULES.keys():
        parser.error(f"not in modules.toml: {', '.join(sorted(unknown))}")
    low = False
    for module in options.modules:
        found = list(mutants(module, options.programs.absolute()))
        low |= not report(module, found, MODULES[module].get("equivalent", {}))
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
