"""The cluster as its users see it: kubectl, helm, pods, names, Services, images, S3."""

import http.client
import json
import os
import resource
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from coffer_cluster import binaries, images, oci
from coffer_cluster.api import Api
from coffer_cluster.binaries import PROBE
from coffer_cluster.cluster import Cluster
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_cluster.nodeconfig import KERNEL_TUNABLES
from coffer_cluster.sandbox import Sandbox
from coffer_cluster.testing import Bench
from coffer_cluster.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PORT = 8080


def fetch(address: str, port: int, path: str = "/") -> str:
    """One request from the machine, past any proxy."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def answers(address: str, port: int) -> bool:
    try:
        fetch(address, port)
    except OSError:
        return False
    return True


def phase_of(bench: Bench, pod: str) -> str | None:
    found = bench.find_pod(pod)
    return found["status"].get("phase") if found else None


def command(*args: str, tag: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"TAG": tag}
    argv = [sys.executable, "-m", "coffer_cluster", *args]
    return subprocess.run(
        argv, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_kubectl_with_the_printed_kubeconfig(cluster: Cluster) -> None:
    printed = command("kubeconfig", tag=cluster.tag).stdout.strip()
    kubectl = command("kubectl-path", tag=cluster.tag).stdout.strip()
    assert Path(kubectl).name == "kubectl"
    nodes = json.loads(run([kubectl, f"--kubeconfig={printed}", "get", "nodes", "-o", "json"]))
    assert {node["metadata"]["name"] for node in nodes["items"]} == {"n1", "n2"}
    version = json.loads(run([kubectl, f"--kubeconfig={printed}", "version", "-o", "json"]))
    assert version["serverVersion"]["gitVersion"] == binaries.KUBERNETES_VERSION
    assert version["clientVersion"]["gitVersion"] == binaries.KUBERNETES_VERSION


def test_kubelet_leaves_the_kernel_alone(cluster: Cluster) -> None:
    """What it would set for the whole machine is shown to it by files of ours."""
    for node in cluster.nodes():
        table = node.sandbox.execute(["cat", "/proc/self/mountinfo"])
        for name in KERNEL_TUNABLES:
            assert f" /proc/sys/{name} " in table
        assert "Updating kernel flag" not in (node.sandbox.logs / "kubelet.log").read_text()


def test_containers_may_open_many_files(cluster: Cluster) -> None:
    """As many as the machine lets anyone, whatever the shell's limit was that started it all."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = cluster.node(1).sandbox.execute(["sh", "-c", "cat /proc/1/limits"])
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert int(line.split()[3]) == min(hard, 1 << 20)


def test_status_names_every_program(cluster: Cluster) -> None:
    status = json.loads(command("status", tag=cluster.tag).stdout)
    assert status["running"]
    assert status["ready"]
    assert set(status["machines"]) == {"cp", "n1", "n2"}
    assert set(status["machines"]["n1"]) == {"containerd", "csi", "kube-proxy", "kubelet"}
    for programs in status["machines"].values():
        assert all(state.startswith("running") for state in programs.values()), programs


def test_logs_of_the_cluster_can_be_read(cluster: Cluster) -> None:
    names = command("logs", tag=cluster.tag).stdout.split()
    assert {"cp/kube-apiserver", "n1/kubelet", "n2/containerd"} <= set(names)
    tail = command("logs", "n1/kubelet", "--lines", "3", tag=cluster.tag).stdout
    assert len(tail.splitlines()) == 3
    wrong = command("logs", "n1/nothing", tag=cluster.tag)
    assert wrong.returncode == 1
    assert len(wrong.stderr.splitlines()) == 1


def test_helm_installs_and_removes(bench: Bench, tmp_path: Path) -> None:
    binaries.ensure([binaries.HELM])
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text("word: none\n")
    (chart / "templates" / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tiny}\n"
        "data: {word: {{ .Values.word | quote }}}\n"
    )
    cluster = bench.cluster
    helm = [cluster.helm, f"--kubeconfig={cluster.kubeconfig}", f"--namespace={bench.namespace}"]
    run([*helm, "install", "tiny", chart, "--set", "word=hello", "--wait"])
    made = bench.get("configmap", "tiny")
    assert made is not None
    assert made["data"] == {"word": "hello"}
    run([*helm, "uninstall", "tiny"])
    assert bench.get("configmap", "tiny") is None


def test_exec_and_logs_on_every_node(bench: Bench) -> None:
    for node in bench.cluster.nodes():
        name = f"on-{node.name}"
        bench.run_probe(name, "serve", f":{PORT}", node=node.name)
        assert f"host {name}" in bench.execute(name, "id")
        with pytest.raises(ClusterError, match="no such file"):
            bench.execute(name, "read", "/nothing")
    job = bench.probe("speaks", "id")
    job["spec"]["restartPolicy"] = "Never"
    bench.apply(job)
    wait_for("the pod to end", lambda: phase_of(bench, "speaks") == "Succeeded", 30)
    assert "host speaks" in bench.kubectl("logs", "speaks")


def test_connections_between_machine_pods_and_services(bench: Bench) -> None:
    here = bench.run_probe("here", "serve", f":{PORT}", node="n1")
    there = bench.run_probe("there", "serve", f":{PORT}", node="n2")
    bench.apply(bench.service("there", "there", PORT))
    bench.apply(bench.service("direct", "there", PORT, headless=True))
    service = bench.get("service", "there")
    assert service is not None
    cluster_ip = service["spec"]["clusterIP"]
    # From the machine: to pods on both nodes, and to a Service.
    assert fetch(here, PORT).startswith("here ")
    assert fetch(there, PORT).startswith("there ")
    wait_for("the Service from the machine", lambda: answers(cluster_ip, PORT), 20)
    # From pod to pod on another node, which sees the caller's own address.
    assert f"to {here}:" in bench.execute("here", "get", f"http://{there}:{PORT}/")
    # From pods by address and by name; the pod's own Service too, which needs the hairpin.
    for name in ("here", "there"):
        for host in (cluster_ip, "there", f"there.{bench.namespace}.svc.cluster.local"):
            assert "there to" in bench.execute(name, "get", f"http://{host}:{PORT}/")
    assert bench.execute("here", "resolve", "there").strip() == cluster_ip
    assert bench.execute("here", "resolve", "direct").strip() == there


def test_name_that_does_not_exist_is_refused_at_once(bench: Bench) -> None:
    bench.run_probe("asks")
    with pytest.raises(ClusterError, match="no such host"):
        bench.execute("asks", "resolve", "nobody.default.svc.cluster.local")


def test_control_plane_reaches_pods_and_services(bench: Bench) -> None:
    """As it must to call a webhook."""
    address = bench.run_probe("hook", "serve", f":{PORT}", node="n2")
    bench.apply(bench.service("hook", "hook", PORT))
    service = bench.get("service", "hook")
    assert service is not None
    for host in (address, service["spec"]["clusterIP"]):
        wait_for_control_plane(bench.cluster, f"http://{host}:{PORT}/")


def wait_for_control_plane(cluster: Cluster, url: str) -> None:
    def fetched() -> bool:
        try:
            cluster.layout.control_plane.execute([PROBE.path, "get", url])
        except ClusterError:
            return False
        return True

    wait_for(f"{url} from the control plane", fetched, 20)


def test_api_server_refuses_what_it_should(cluster: Cluster) -> None:
    """Nodes act under their own names, and nobody is let in without a certificate."""
    kubeconfig = cluster.layout.kubeconfig_of("n1")
    kubectl = [cluster.kubectl, f"--kubeconfig={kubeconfig}"]
    run([*kubectl, "get", "node", "n1"])
    with pytest.raises(ClusterError, match="Forbidden"):
        run([*kubectl, "label", "node", "n2", "stolen=yes"])
    context = ssl.create_default_context(cafile=str(cluster.layout.pki.authority))
    connection = http.client.HTTPSConnection(
        str(cluster.plan.control_plane), 6443, timeout=5, context=context
    )
    connection.request("GET", "/api/v1/pods")
    assert connection.getresponse().status == 403
    connection.close()


# --- images ---


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image that differs from run to run, by a file of random content."""
    salt = tmp_path / "salt"
    salt.write_bytes(os.urandom(16))
    path = tmp_path / "image.tar"
    name = f"localhost/test/probe:{salt.read_bytes().hex()}"
    oci.write(path, name, {"/probe": PROBE.path, "/salt": salt}, ["/probe"])
    return path


def test_loaded_image_runs_on_every_node(bench: Bench, archive: Path) -> None:
    cluster = bench.cluster
    printed = command("load-image", str(archive), tag=cluster.tag)
    assert printed.returncode == 0, printed.stderr
    name = printed.stdout.strip()
    assert name in oci.config_digests(archive)
    for node in cluster.nodes():
        bench.run_probe(f"on-{node.name}", image=name, node=node.name)


def test_image_is_loaded_once(
    cluster: Cluster, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    real = images.import_archive

    def count(node: Sandbox, source: Path) -> None:
        imported.append(node.name)
        real(node, source)

    monkeypatch.setattr(images, "import_archive", count)
    cluster.load_image(archive)
    assert sorted(imported) == ["n1", "n2"]
    cluster.load_image(archive)
    assert len(imported) == 2
    # Another content under the same name counts as another image.
    name = next(iter(oci.config_digests(archive)))
    oci.write(archive, name, {"/probe": PROBE.path}, ["/probe"])
    cluster.load_image(archive)
    assert len(imported) == 4


def test_image_can_be_given_another_name(cluster: Cluster, archive: Path) -> None:
    name = "localhost/test/renamed:1"
    assert cluster.load_image(archive, name) == name
    assert all(name in images.loaded(node.sandbox) for node in cluster.nodes())


def test_image_of_buildah_is_loaded(bench: Bench, tmp_path: Path) -> None:
    salt = tmp_path / "salt"
    salt.write_bytes(os.urandom(16))
    name = f"localhost/test/built:{salt.read_bytes().hex()}"
    container = run(["buildah", "from", "scratch"]).strip()
    try:
        for file, target in ((PROBE.path, "/probe"), (salt, "/salt")):
            run(["buildah", "copy", "--quiet", container, file, target])
        run(["buildah", "config", "--entrypoint", '["/probe"]', container])
        run(["buildah", "commit", "--quiet", container, name])
    finally:
        run(["buildah", "rm", container])
    try:
        assert bench.cluster.load_image(name) == name
        bench.run_probe("built", image=name)
    finally:
        run(["buildah", "rmi", name])


def test_what_is_no_image_is_refused_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="neither an archive nor an image"):
        cluster.load_image("localhost/test/nothing:1")
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(UnsupportedError, match="no archive of exactly one image"):
        cluster.load_image(tmp_path / "text")


# --- S3 ---


def s3_status(url: str, context: ssl.SSLContext | None = None) -> int:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_s3_from_the_machine(cluster: Cluster) -> None:
    """It answers on both ports, to nobody without keys, with a certificate that can be checked."""
    access = cluster.s3
    assert s3_status(access.endpoint) == 403
    context = ssl.create_default_context(cafile=str(access.ca_file))
    assert s3_status(access.tls_endpoint, context) == 403
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        s3_status(access.tls_endpoint, ssl.create_default_context())


def test_s3_keeps_objects(cluster: Cluster, tmp_path: Path) -> None:
    """Written on one port with the keys that `status` shows, read back on the other."""
    keys = json.loads(command("status", tag=cluster.tag).stdout)["s3"]
    content = tmp_path / "content"
    content.write_bytes(os.urandom(1 << 20))
    sign = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user"]
    sign.append(f"{keys['access_key']}:{keys['secret_key']}")
    sign += ["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    curl = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", *sign]
    bucket = f"bucket-{os.urandom(4).hex()}"
    run([*curl, "--request", "PUT", f"{keys['endpoint']}/{bucket}"])
    run([*curl, "--upload-file", content, f"{keys['endpoint']}/{bucket}/a/b"])
    back = tmp_path / "back"
    ca = ["--cacert", keys["ca_file"]]
    run([*curl, *ca, "--output", back, f"{keys['tls_endpoint']}/{bucket}/a/b"])
    assert back.read_bytes() == content.read_bytes()


def test_s3_from_pods(bench: Bench) -> None:
    access = bench.cluster.s3
    bench.run_probe("client", node="n2")
    for url in (access.service_endpoint, access.service_tls_endpoint, access.endpoint):
        assert bench.execute("client", "get", url).startswith("403 ")


# --- faults of the control plane ---


def test_pods_outlive_the_api_server(bench: Bench) -> None:
    cluster = bench.cluster
    address = bench.run_probe("serves", "serve", f":{PORT}")
    bench.apply(bench.service("serves", "serves", PORT))
    service = bench.get("service", "serves")
    assert service is not None
    cluster_ip = service["spec"]["clusterIP"]
    wait_for("the Service", lambda: answers(cluster_ip, PORT), 20)
    cluster.stop_apiserver()
    try:
        assert not Api.direct(cluster.layout).ready
        assert answers(address, PORT)
        assert answers(cluster_ip, PORT)
    finally:
        cluster.start_apiserver()
    assert bench.get("pod", "serves") is not None
    bench.run_probe("after")


def test_program_that_dies_is_started_again(cluster: Cluster) -> None:
    box = cluster.layout.control_plane
    before = box.programs()["kube-scheduler"]
    box.signal("kube-scheduler", 9)  # type: ignore[arg-type]

    def is_back() -> bool:
        now = box.programs()["kube-scheduler"]
        return bool(now["pid"]) and now["ends"] == before["ends"] + 1

    wait_for("the scheduler to be back", is_back, 20)
