"""Which cluster, as whom: what kubectl would take from the same files."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from coffer_cli.errors import CliError, Exit
from coffer_cli.kubeconfig import load


def config(name: str, **more: Any) -> dict[str, Any]:
    """A whole kubeconfig around one context, cluster and user, all called `name`."""
    user = more.pop("user", {"token": f"token-{name}"})
    cluster = {"server": f"https://{name}:6443"} | more.pop("cluster", {})
    context = {"cluster": name, "user": name} | more.pop("context", {})
    return {
        "current-context": name,
        "contexts": [{"name": name, "context": context}],
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        **more,
    }


def write(path: Path, document: object) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_current_context(tmp_path: Path) -> None:
    path = write(tmp_path / "a", config("a", context={"namespace": "n"}))
    target = load(str(path), None, {})
    assert (target.cluster.server, target.namespace, target.context) == ("https://a:6443", "n", "a")
    assert target.user.token == "token-a"


def test_several_files_are_one_and_the_first_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "1", config("a") | {"current-context": ""})
    second = config("b")
    second["clusters"].append({"name": "a", "cluster": {"server": "https://late:1"}})
    listed = f"{first}:{tmp_path / 'missing'}:{write(tmp_path / '2', second)}"
    assert load(None, None, {"KUBECONFIG": listed}).cluster.server == "https://b:6443"
    target = load(None, "a", {"KUBECONFIG": listed})
    assert target.cluster.server == "https://a:6443"
    assert target.namespace == "default"


def test_files_and_data(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    (tmp_path / "token").write_text("t")
    user = {
        "client-certificate-data": base64.b64encode(b"CERT").decode(),
        "client-certificate": "ignored",
        "client-key-data": base64.b64encode(b"KEY").decode(),
        "tokenFile": "token",
    }
    cluster = {"certificate-authority": "ca.pem", "tls-server-name": "api", "proxy-url": "http://p"}
    path = write(tmp_path / "a", config("a", user=user, cluster=cluster))
    target = load(str(path), None, {})
    assert target.cluster.ca == b"CA"
    assert (target.cluster.server_name, target.cluster.proxy) == ("api", "http://p")
    assert (target.user.certificate, target.user.key) == (b"CERT", b"KEY")
    assert target.user.token_file == tmp_path / "token"


def test_exec_plugins(tmp_path: Path) -> None:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "bin/login",
        "args": ["--cluster", "a"],
        "env": [{"name": "REGION", "value": "x"}],
        "provideClusterInfo": True,
    }
    path = write(tmp_path / "a", config("a", user={"exec": plugin}))
    found = load(str(path), None, {}).user.plugin
    assert found is not None
    assert found.command == str(tmp_path / "bin/login")
    assert (found.args, found.env, found.cluster_info) == (
        ("--cluster", "a"),
        {"REGION": "x"},
        True,
    )


def _service_account(folder: Path) -> Path:
    for name, text in (("token", "t"), ("ca.crt", "CA"), ("namespace", "mine\n")):
        (folder / name).write_text(text)
    return folder


def test_in_a_pod(tmp_path: Path) -> None:
    environ = {
        "KUBECONFIG": str(tmp_path / "none"),
        "KUBERNETES_SERVICE_HOST": "fd00::1",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    target = load(None, None, environ, _service_account(tmp_path))
    assert target.cluster.server == "https://[fd00::1]:443"
    assert target.cluster.ca == b"CA"
    assert (target.namespace, target.context) == ("mine", None)
    assert target.user.token_file == tmp_path / "token"


def test_an_empty_file_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(CliError, match="no cluster is chosen"):
        load(str(tmp_path / "a"), None, {})


@pytest.mark.parametrize(
    ("document", "part"),
    [
        (config("a", cluster={"server": "a:6443"}), "no address of an API server"),
        (config("a", cluster={"certificate-authority": "no.pem"}), "certificate-authority"),
        (config("a", cluster={"certificate-authority-data": "%"}), "is not base64"),
        (config("a", context={"cluster": "b"}), "has no cluster 'b' (it has: a)"),
        (config("a", context={"user": "b"}), "has no user 'b' (it has: a)"),
        (config("a", user={"auth-provider": {"name": "oidc"}}), "auth-provider"),
        (["a", "list"], "no kubeconfig"),
    ],
)
def test_mistakes_name_what_is_wrong(tmp_path: Path, document: object, part: str) -> None:
    path = write(tmp_path / "a", document)
    with pytest.raises(CliError) as caught:
        load(str(path), None, {})
    assert caught.value.code is Exit.USAGE
    assert part in caught.value.message
    assert "\n" not in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("a: [")
    for name, part in (("bad", "cannot read this kubeconfig"), ("none", "no such kubeconfig")):
        with pytest.raises(CliError, match=part):
            load(str(tmp_path / name), None, {})
