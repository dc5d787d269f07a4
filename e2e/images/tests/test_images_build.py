"""What is built, when, and by what."""

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_cluster.target import Kind, Target
from coffer_images import base, builders, images
from coffer_images.buildah import Buildah
from coffer_images.docker import Docker
from coffer_images.images import Image

DOCKERFILE = """\
FROM debian AS operator
COPY main.py /
FROM debian AS guest-one
COPY guest.py /
"""


@dataclass
class FakeBuilder:
    """Notes what is asked of it; the first `failures` builds fail."""

    failures: int = 0
    built: list[str] = field(default_factory=list)
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        pass

    def build(
        self, context: Path, target: str, image: str, log: Path, on_line: Callable[[str], None]
    ) -> None:
        del target, log
        on_line("one line")
        assert (context / "Dockerfile").exists()
        if self.failures:
            self.failures -= 1
            raise ClusterError("the network was away")
        self.built.append(image)

    def save(self, image: str, archive: Path) -> None:
        archive.write_text(image)

    def push(self, archive: Path, image: str, reference: str) -> None:
        assert archive.read_text() == image
        self.pushed.append(reference)

    def tidy(self, kept: Mapping[str, Sequence[str]]) -> None:
        self.kept = kept


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> FakeBuilder:
    fake = FakeBuilder()
    monkeypatch.setattr(images, "choose", lambda: fake)
    return fake


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "tree"
    root.mkdir()
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "main.py").write_text("main")
    (root / "guest.py").write_text("guest")
    return root


def test_only_what_changed_is_built(tree: Path, builder: FakeBuilder) -> None:
    first = images.build(root=tree)
    assert builder.built == [image.name for image in first]
    assert [image.target for image in first] == ["operator", "guest-one"]
    assert all(image.archive.read_text() == image.name for image in first)

    builder.built.clear()
    assert images.build(root=tree) == first
    assert builder.built == []

    (tree / "guest.py").write_text("other")
    second = images.build(root=tree)
    assert builder.built == [second[1].name]
    assert second[0] == first[0]
    assert second[1] != first[1]


def test_only_the_targets_asked_for_are_built(tree: Path, builder: FakeBuilder) -> None:
    (built,) = images.build(["guest-one"], tree)
    assert builder.built == [built.name]


def test_a_build_that_failed_is_tried_once_more(tree: Path, builder: FakeBuilder) -> None:
    builder.failures = 1
    (built,) = images.build(["operator"], tree)
    assert built.archive.exists()


def test_a_build_that_fails_twice_leaves_nothing_that_looks_built(
    tree: Path, builder: FakeBuilder
) -> None:
    builder.failures = 2
    with pytest.raises(ClusterError, match="the network was away"):
        images.build(["operator"], tree)
    (built,) = images.build(["operator"], tree)
    assert builder.built == [built.name]


def test_of_older_images_the_one_used_last_is_kept(tree: Path, builder: FakeBuilder) -> None:
    tags = []
    for number in range(3):
        (tree / "main.py").write_text(f"main {number}")
        (built,) = images.build(["operator"], tree)
        os.utime(built.archive, (1000 + number, 1000 + number))
        tags.append(built.name.rpartition(":")[2])
    assert set(builder.kept["operator"]) == set(tags[1:])
    assert set(images.archives().tags("operator")) == set(tags[1:])


# --- the choice of a builder ---


@pytest.mark.parametrize(("runs", "chosen"), [(True, Docker), (False, Buildah)])
def test_docker_builds_where_its_engine_runs(
    monkeypatch: pytest.MonkeyPatch, *, runs: bool, chosen: type
) -> None:
    monkeypatch.setattr(images, "engine_runs", lambda: runs)
    assert type(images.choose()) is chosen


@pytest.mark.parametrize(("client", "answers"), [(None, True), ("/bin/docker", False)])
def test_a_client_without_an_engine_is_no_docker(
    monkeypatch: pytest.MonkeyPatch, client: str | None, *, answers: bool
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: client)
    monkeypatch.setattr(builders, "succeeds", lambda _argv, **_: answers)
    assert not builders.engine_runs()


def test_buildah_without_root_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UnsupportedError, match="needs root, or a docker engine"):
        Buildah(tmp_path, "2026-w01").prepare()


def test_authorities_are_lent_only_where_there_are_some(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.crt"
    assert builders.ca_secret(bundle) == []
    bundle.touch()
    assert builders.ca_secret(bundle) == ["--secret", f"id=ca_bundle,src={bundle}"]


def test_only_our_images_with_tags_nobody_wants_are_outdated() -> None:
    listed = [
        "localhost/coffer/operator:new",
        "localhost/coffer/operator:old",
        "localhost/coffer/guest-redis:old",
        "localhost/coffer/base:2026-w47",
        "other/operator:old",
        "localhost:5000/coffer/operator:old",
        "<none>:<none>",
    ]
    kept = {"operator": ["new"]}
    assert builders.outdated(listed, "localhost/coffer", kept) == ["localhost/coffer/operator:old"]


# --- the base image ---


@dataclass
class FakeStorage:
    """The images of a buildah storage, by name."""

    names: list[str]

    def __call__(self, *args: object) -> str:
        words = [str(word) for word in args]
        if words[0] == "images":
            return "\n".join(self.names)
        if words[0] == "tag":
            assert words[1] in self.names
            self.names.append(words[2])
        if words[0] == "rmi":
            self.names.remove(words[1])
        return ""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def make(storage: FakeStorage, name: str) -> None:
        names.append(name)
        storage.names.append(name)

    monkeypatch.setattr(base, "_make", make)
    return names


def test_a_week_begins_on_monday_in_any_year() -> None:
    assert base.week_of(datetime.date(2026, 11, 22)) == "2026-w47"
    assert base.week_of(datetime.date(2027, 1, 3)) == "2026-w53"
    assert base.week_of(datetime.date(2027, 1, 4)) == "2027-w01"


def test_a_base_image_is_made_once_a_week(made: list[str]) -> None:
    storage = FakeStorage([])
    base.ensure(storage, "2026-w46")
    base.ensure(storage, "2026-w46")
    assert made == ["localhost/coffer/base:2026-w46"]
    base.ensure(storage, "2026-w47")
    assert made[1:] == ["localhost/coffer/base:2026-w47"]
    assert "localhost/coffer/base:2026-w46" not in storage.names
    assert base.IMAGE in storage.names


def test_an_older_base_image_will_do_while_none_can_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ClusterError("no network")

    monkeypatch.setattr(base, "_make", fail)
    storage = FakeStorage(["localhost/coffer/base:2026-w46"])
    base.ensure(storage, "2026-w47")
    assert storage.names == ["localhost/coffer/base:2026-w46", base.IMAGE]
    with pytest.raises(ClusterError, match="no network"):
        base.ensure(FakeStorage([]), "2026-w47")


# --- on the way to a cluster ---

IMAGE = Image("operator", "localhost/coffer/operator:abc", Path("/cache/operator-abc.tar"))


def test_images_are_loaded_into_the_embedded_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeCluster:
        def __init__(self, tag: str) -> None:
            assert tag == "mine"

        def load_image(self, reference: Path, name: str) -> str:
            assert reference == IMAGE.archive
            return name

    monkeypatch.setattr(images, "Cluster", FakeCluster)
    target = Target(Kind.EMBEDDED, "mine", "/kubeconfig")
    assert images.deliver([IMAGE], target) == {"operator": IMAGE.name}


def test_images_are_loaded_into_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(images, "run", lambda argv, **_: calls.append([str(a) for a in argv]))
    assert images.deliver([IMAGE], Target(Kind.KIND, "mine", None)) == {"operator": IMAGE.name}
    assert calls == [["kind", "load", "image-archive", str(IMAGE.archive), "--name", "coffer-mine"]]


def test_images_for_a_cluster_of_the_user_are_pushed(tree: Path, builder: FakeBuilder) -> None:
    built = images.build(["operator"], tree)
    target = Target(Kind.EXTERNAL, "mine", "/kubeconfig", "registry.example/team")
    tag = built[0].name.rpartition(":")[2]
    wanted = f"registry.example/team/operator:{tag}"
    assert images.deliver(built, target) == {"operator": wanted}
    assert builder.pushed == [wanted]
