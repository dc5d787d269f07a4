"""The layout keeps `operator` the standard library's: see docs/architecture.md."""

import operator
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_operator_is_the_standard_library() -> None:
    assert Path(operator.__file__).is_relative_to(sysconfig.get_path("stdlib"))


def test_no_python_directly_in_folders_that_would_shadow() -> None:
    for folder in ("operator", "guest_sidecar"):
        assert not list((ROOT / folder).glob("*.py")), f"{folder}/ must hold folders only"


def test_test_files_have_names_of_their_own() -> None:
    folders = [p for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")]
    found = [path for folder in folders for path in folder.rglob("test_*.py")]
    names = [path.name for path in found if "tests" in path.relative_to(ROOT).parts]
    assert names
    assert len(names) == len(set(names))
