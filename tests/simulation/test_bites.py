"""It bites: each bug in bugs/ is planted in a copy of the library, and the simulation finds it.

A bug is a patch against the repository, made by `git diff`, with a line before it that names a seed that finds it: it is
tried first, and all the others if it no longer does. One that no longer applies is written anew for the code as it is now;
one that the simulation no longer finds means that a law has lost its teeth.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUGS = sorted(HERE.glob("bugs/*.patch"))
SEEDS = 2_000


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the library that a test may spoil."""
    shutil.copytree(
        ROOT / "pyodide_modules" / "holdfast",
        tmp_path / "pyodide_modules" / "holdfast",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return tmp_path


def in_copy(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the copy in place of the library."""
    environment = os.environ | {"PYTHONPATH": str(copy / "pyodide_modules"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.stem)
def test_a_planted_bug_is_found(copy: Path, bug: Path) -> None:
    """Within 2,000 seeds; the output names the seed and the law."""
    planted = subprocess.run(["git", "apply", str(bug)], cwd=copy, capture_output=True, text=True, check=False)
    assert planted.returncode == 0, f"{bug.name} does not apply to the library as it is now: {planted.stderr}"
    named = re.match(r"Found by seed (\d+)\.\n", bug.read_text())
    assert named, f"{bug.name} names no seed"
    found = in_copy(copy, "-m", "tests.simulation", "1", "--first", named[1])
    if found.returncode == 0 or os.environ.get("HOLDFAST_LONG"):
        found = in_copy(copy, "-m", "tests.simulation", str(SEEDS))
    sys.stdout.write(f"{bug.stem}: {found.stdout}")
    assert int(named[1]) < SEEDS
    assert (found.returncode, found.stdout[:5]) == (1, "seed "), found.stderr


def test_the_copy_is_what_is_simulated(copy: Path) -> None:
    """Else a bug could be found that is in the library itself, or none at all."""
    where = in_copy(copy, "-c", "import holdfast, tests.simulation.world; print(holdfast.__file__)")
    assert where.stdout.strip() == str(copy / "pyodide_modules" / "holdfast" / "__init__.py")
    assert in_copy(copy, "-m", "tests.simulation", "20").returncode == 0


def test_there_are_bugs_to_find() -> None:
    """Their number must not sink unnoticed."""
    assert len(BUGS) >= 10
