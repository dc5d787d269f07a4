"""Which cluster the environment means."""

import os
from pathlib import Path

import pytest
import yaml

from coffer_cluster import target
from coffer_cluster.addresses import plan_for
from coffer_cluster.errors import UnsupportedError
from coffer_cluster.target import Kind, decide

FOREIGN = "https://kubernetes.example:6443"


@pytest.fixture(autouse=True)
def state_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "state"
    root.mkdir()
    monkeypatch.setattr(target, "STATE_ROOT", root)
    return root


def write_config(path: Path, server: str, current: str | None = "c") -> str:
    config = {
        "current-context": current,
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_nothing_said_means_the_embedded_cluster() -> None:
    decided = decide({})
    assert (decided.kind, decided.tag) == (Kind.EMBEDDED, "coffer")
    assert decided.kubeconfig == "/var/lib/coffer/cluster-coffer/kubeconfig"


def test_tag_chooses_among_embedded_clusters() -> None:
    assert decide({"TAG": "mine"}).kubeconfig == "/var/lib/coffer/cluster-mine/kubeconfig"


def test_address_of_the_embedded_cluster_means_it(tmp_path: Path) -> None:
    config = write_config(tmp_path / "copy", plan_for("coffer").api_url + "/")
    assert decide({"KUBECONFIG": config}).kind is Kind.EMBEDDED


def test_address_of_another_embedded_cluster_means_ours(tmp_path: Path, state_root: Path) -> None:
    (state_root / "cluster-other").mkdir()
    config = write_config(tmp_path / "copy", plan_for("other").api_url)
    decided = decide({"KUBECONFIG": config, "TAG": "mine"})
    assert (decided.kind, decided.tag) == (Kind.EMBEDDED, "mine")


def test_printed_kubeconfig_of_a_cluster_that_is_down_means_it(state_root: Path) -> None:
    config = str(state_root / "cluster-coffer" / "kubeconfig")
    assert decide({"KUBECONFIG": config}).kind is Kind.EMBEDDED


def test_other_kubeconfig_is_the_users(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", FOREIGN)
    decided = decide({"KUBECONFIG": config, "IMAGES": "registry.example/coffer/"})
    assert decided.kind is Kind.EXTERNAL
    assert decided.kubeconfig == config
    assert decided.registry == "registry.example/coffer"


def test_users_cluster_needs_a_registry(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", FOREIGN)
    with pytest.raises(UnsupportedError, match="set IMAGES=") as refused:
        decide({"KUBECONFIG": config})
    assert "\n" not in str(refused.value)
    assert decide({"KUBECONFIG": config}, images=False).kind is Kind.EXTERNAL


def test_explicit_embedded_wins_over_kubeconfig(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", FOREIGN)
    assert decide({"KUBECONFIG": config, "CLUSTER": "embedded"}).kind is Kind.EMBEDDED


def test_first_of_several_files_counts(tmp_path: Path) -> None:
    first = write_config(tmp_path / "first", FOREIGN)
    second = write_config(tmp_path / "second", plan_for("coffer").api_url)
    both = f"{first}:{second}"
    assert decide({"KUBECONFIG": both, "IMAGES": "r/p"}).kind is Kind.EXTERNAL
    assert decide({"KUBECONFIG": f"{second}:{first}"}).kind is Kind.EMBEDDED


@pytest.mark.parametrize("content", ["", "[]", "a: [", "contexts: 3"])
def test_file_that_names_no_cluster_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(UnsupportedError, match="names no cluster"):
        decide({"KUBECONFIG": str(tmp_path / "config"), "IMAGES": "r/p"})


def test_unknown_sort_of_cluster_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="is none of embedded, kind, external"):
        decide({"CLUSTER": "minikube"})


def fake_program(folder: Path, name: str, exit_code: int) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    program.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.defpath}")
    return folder


def test_kind_with_a_working_engine(programs: Path) -> None:
    fake_program(programs, "kind", 0)
    fake_program(programs, "docker", 0)
    decided = decide({"CLUSTER": "kind", "TAG": "mine"})
    assert (decided.kind, decided.kind_name) == (Kind.KIND, "coffer-mine")


def test_docker_without_an_engine_does_not_count(programs: Path) -> None:
    fake_program(programs, "kind", 0)
    fake_program(programs, "docker", 1)
    with pytest.raises(UnsupportedError, match="`docker info` fails"):
        decide({"CLUSTER": "kind"})


def test_docker_without_kind_does_not_count(programs: Path) -> None:
    fake_program(programs, "docker", 0)
    with pytest.raises(UnsupportedError, match="needs the program kind"):
        decide({"CLUSTER": "kind"})
