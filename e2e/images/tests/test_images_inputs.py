"""A tag stands for what an image is made from, for all of it and for nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_images import inputs

DOCKERFILE = """\
FROM debian AS base
RUN base
FROM base AS code-guest
COPY guest/src /src/guest/src
FROM base AS operator
COPY main.py /
FROM base AS guest-one
COPY --from=code-guest /src /
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "main.py").write_text("main")
    (tmp_path / "README.md").write_text("about")
    source = tmp_path / "guest" / "src" / "deep"
    source.mkdir(parents=True)
    (source / "a.py").write_text("a")
    (source / "run").write_text("run")
    (source / "run").chmod(0o755)
    return tmp_path


def _edit(name: str, text: str) -> Callable[[Path], object]:
    def change(tree: Path) -> object:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.write_text(text)

    return change


def _replace(old: str, new: str) -> Callable[[Path], object]:
    return lambda tree: (tree / "Dockerfile").write_text(DOCKERFILE.replace(old, new))


@pytest.mark.parametrize(
    "change",
    [
        _edit("guest/src/deep/a.py", "b"),
        _edit("guest/src/deep/new.py", ""),
        lambda tree: (tree / "guest/src/deep/a.py").rename(tree / "guest/src/a.py"),
        lambda tree: (tree / "guest/src/deep/a.py").unlink(),
        lambda tree: (tree / "guest/src/deep/a.py").chmod(0o755),
        _replace("RUN base", "RUN other"),
        _replace("COPY --from=code-guest /src /", "COPY --from=code-guest /src /x"),
    ],
)
def test_a_change_of_what_is_in_it_changes_the_tag(
    tree: Path, change: Callable[[Path], object]
) -> None:
    before = inputs.read(tree, "guest-one").tag
    change(tree)
    assert inputs.read(tree, "guest-one").tag != before


@pytest.mark.parametrize(
    "change",
    [
        _edit("README.md", "other"),
        _edit("main.py", "other"),
        _edit("guest/src/deep/__pycache__/a.pyc", "bytecode"),
        _edit("guest/src/coffer.egg-info/PKG-INFO", "metadata"),
        lambda tree: (tree / "guest/src/deep/a.py").chmod(0o600),
        _replace("COPY main.py /", "COPY main.py /other"),
        _replace("RUN base", "# why\nRUN base"),
    ],
)
def test_nothing_else_changes_the_tag(tree: Path, change: Callable[[Path], object]) -> None:
    before = inputs.read(tree, "guest-one").tag
    change(tree)
    assert inputs.read(tree, "guest-one").tag == before


def test_a_tag_does_not_depend_on_the_checkout(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    here = inputs.read(tree, "guest-one")
    here.write_context(other)
    there = inputs.read(other, "guest-one")
    assert there.tag == here.tag
    assert there.image == f"localhost/coffer/guest-one:{here.tag}"


def test_the_context_is_what_was_read_and_no_more(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    context = tmp_path_factory.mktemp("context")
    read = inputs.read(tree, "guest-one")
    (tree / "guest/src/deep/a.py").write_text("changed meanwhile")
    read.write_context(context)
    files = {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()}
    assert files == {"Dockerfile", "guest/src/deep/a.py", "guest/src/deep/run"}
    assert (context / "guest/src/deep/a.py").read_text() == "a"
    assert (context / "guest/src/deep/run").stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_copied_too(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for path in (tree / "guest/src/deep").iterdir():
        path.unlink()
    (tree / "guest/src/deep").rmdir()
    context = tmp_path_factory.mktemp("context")
    inputs.read(tree, "guest-one").write_context(context)
    assert (context / "guest/src").is_dir()


def test_an_unknown_image_is_refused_with_those_there_are(tree: Path) -> None:
    with pytest.raises(UnsupportedError, match="no image guest; there are: operator, guest-one"):
        inputs.read(tree, "guest")


def test_a_source_that_is_missing_is_named(tree: Path) -> None:
    (tree / "main.py").unlink()
    with pytest.raises(ClusterError, match=r"main\.py"):
        inputs.read(tree, "operator")
