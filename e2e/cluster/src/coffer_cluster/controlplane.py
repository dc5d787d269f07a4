"""The programs of the control plane, with the flags that this cluster needs, and their order."""

import json
import secrets

from coffer_cluster.addresses import API_PORT, CLUSTER_DOMAIN, S3_PORT, S3_TLS_PORT
from coffer_cluster.binaries import COREDNS, CSI, KUBERNETES, PROVISIONER, RESIZER, S3
from coffer_cluster.kubeconfig import write as write_kubeconfig
from coffer_cluster.layout import Layout
from coffer_cluster.sandbox import Program
from coffer_cluster.secretfile import read_json, write_json

ETCD_URL = "http://127.0.0.1:2379"
API_SERVER = "kube-apiserver"
#: Clients of the API server: name of the certificate, common name, organization.
HOLDERS = (
    ("admin", "coffer-cluster-admin", "system:masters"),
    ("kube-controller-manager", "system:kube-controller-manager", ""),
    ("kube-scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
)
#: csi-provisioner and csi-resizer ask seldom, and answer at once when they are asked.
CSI_CONTROLLER_FLAGS = (
    "--retry-interval-start=500ms",
    "--kube-api-qps=50",
    "--kube-api-burst=100",
    "--v=2",
)

#: The programs that watch the API server.
CLIENTS = (
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "coredns",
    "csi-provisioner",
    "csi-resizer",
)
#: Who of the programs in the cluster asks for what; never the contents.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


def issue_certificates(layout: Layout) -> None:
    """The authority, every holder's certificate and kubeconfig, and the servers' certificates."""
    pki, plan = layout.pki, layout.plan
    pki.create()
    layout.kubeconfig_of("admin").parent.mkdir(exist_ok=True)
    for holder, common_name, organization in HOLDERS:
        pki.issue(holder, common_name, organization=organization)
        write_kubeconfig(
            layout.kubeconfig_of(holder), plan.api_url, pki, holder, name=f"coffer-{plan.tag}"
        )
    pki.issue("front-proxy", "front-proxy")
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    pki.issue(
        "apiserver",
        "kube-apiserver",
        names=[*service, f"kubernetes.default.svc.{CLUSTER_DOMAIN}", "localhost"],
        addresses=[plan.api_service, plan.control_plane],
    )
    service = ["s3", "s3.default", "s3.default.svc", f"s3.default.svc.{CLUSTER_DOMAIN}"]
    pki.issue("s3", "s3", names=service, addresses=[plan.s3_service, plan.control_plane])
    # Last: whoever finds this file finds a cluster that was set up to here.
    layout.kubeconfig.unlink(missing_ok=True)
    layout.kubeconfig.write_bytes(layout.kubeconfig_of("admin").read_bytes())
    layout.kubeconfig.chmod(0o600)


def create_s3_keys(layout: Layout) -> None:
    layout.s3_data.mkdir(exist_ok=True)
    keys = {"access_key": "coffer", "secret_key": secrets.token_hex(20)}
    write_json(layout.s3_keys, keys)


def etcd(layout: Layout) -> Program:
    args: list[object] = [
        KUBERNETES.path,
        "etcd",
        f"--data-dir={layout.root / 'etcd'}",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # Nothing here outlives the loss of the machine's power.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    return Program("etcd", args)


def api_server(layout: Layout) -> Program:
    pki, plan = layout.pki, layout.plan
    layout.audit_policy.write_text(json.dumps(AUDIT_POLICY))
    args: list[object] = [
        KUBERNETES.path,
        API_SERVER,
        f"--etcd-servers={ETCD_URL}",
        f"--service-cluster-ip-range={plan.services}",
        f"--advertise-address={plan.control_plane}",
        f"--secure-port={API_PORT}",
        f"--client-ca-file={pki.authority}",
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        f"--service-account-key-file={pki.token_public}",
        f"--service-account-signing-key-file={pki.token_key}",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "--authorization-mode=Node,RBAC",
        # The second one refuses an owner reference that its writer could not act on by itself.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        "--allow-privileged=true",
        # Node names mean nothing to the resolver of the control plane.
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={pki.certificate('admin')}",
        f"--kubelet-client-key={pki.key('admin')}",
        f"--kubelet-certificate-authority={pki.authority}",
        f"--requestheader-client-ca-file={pki.authority}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki.certificate('front-proxy')}",
        f"--proxy-client-key-file={pki.key('front-proxy')}",
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        # A lost node's pods are given up after 5 s, not 300: tests wait for it.
        "--default-not-ready-toleration-seconds=5",
        "--default-unreachable-toleration-seconds=5",
    ]
    return Program(API_SERVER, args)


def controller_manager(layout: Layout) -> Program:
    pki = layout.pki
    args: list[object] = [
        KUBERNETES.path,
        "kube-controller-manager",
        f"--kubeconfig={layout.kubeconfig_of('kube-controller-manager')}",
        f"--service-account-private-key-file={pki.token_key}",
        f"--root-ca-file={pki.authority}",
        f"--cluster-signing-cert-file={pki.authority}",
        f"--cluster-signing-key-file={pki.key('ca')}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        # A node that is silent for 12 s is lost; its kubelet renews its lease every 2 s.
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=12s",
        # Of its start, 4 of 5 s were waits for its own limit of 20 requests a second.
        "--kube-api-qps=100",
        "--kube-api-burst=200",
    ]
    return Program("kube-controller-manager", args)


def scheduler(layout: Layout) -> Program:
    kubeconfig = layout.kubeconfig_of("kube-scheduler")
    args: list[object] = [
        KUBERNETES.path,
        "kube-scheduler",
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
    ]
    return Program("kube-scheduler", args)


def kube_proxy(layout: Layout, host: str) -> Program:
    """The rules that make Services work, seen from the node `host`.

    The control plane, which is no node, has them too: what runs there reaches Services like a
    pod does. It sees them as a node that exists: kube-proxy waits 30 s for one that does not.
    """
    args: list[object] = [
        KUBERNETES.path,
        "kube-proxy",
        f"--kubeconfig={layout.kubeconfig_of('kube-proxy')}",
        f"--hostname-override={host}",
        f"--cluster-cidr={layout.plan.pods}",
        "--proxy-mode=iptables",
        # These limits are the whole machine's, and read-only in a network namespace.
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
    ]
    return Program("kube-proxy", args)


def dns(layout: Layout) -> Program:
    corefile = layout.control_plane.folder / "Corefile"
    corefile.write_text(
        f"""\
.:53 {{
  bind {layout.plan.control_plane}
  errors
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
    kubeconfig {layout.kubeconfig_of("admin")}
  }}
}}
"""
    )
    return Program("coredns", [COREDNS.path, "-conf", corefile])


def storage(layout: Layout) -> list[Program]:
    """The driver's controller, and the two programs that bring it the API server's wishes."""
    socket = layout.control_plane.folder / "csi.sock"
    kubeconfig = f"--kubeconfig={layout.kubeconfig_of('admin')}"
    address = f"--csi-address={socket}"
    driver: list[object] = [CSI.path, "-volumes", layout.volumes, "-endpoint", socket]
    provisioner: list[object] = [
        PROVISIONER.path,
        kubeconfig,
        address,
        "--default-fstype=xfs",
        "--strict-topology",
        "--extra-create-metadata",
        *CSI_CONTROLLER_FLAGS,
    ]
    resizer: list[object] = [
        RESIZER.path,
        kubeconfig,
        address,
        "--handle-volume-inuse-error=false",
        *CSI_CONTROLLER_FLAGS,
    ]
    return [
        Program("csi", driver),
        Program("csi-provisioner", provisioner),
        Program("csi-resizer", resizer),
    ]


def s3(layout: Layout) -> Program:
    keys = read_json(layout.s3_keys)
    env = {"ROOT_ACCESS_KEY": keys["access_key"], "ROOT_SECRET_KEY": keys["secret_key"]}
    args: list[object] = [S3.path, "--port", f":{S3_PORT}", "posix", layout.s3_data]
    return Program("s3", args, env)


def s3_tls(layout: Layout) -> Program:
    """The same buckets behind a certificate of the cluster's authority."""
    pki, plain = layout.pki, s3(layout)
    args: list[object] = [S3.path, "--port", f":{S3_TLS_PORT}"]
    args += ["--cert", pki.certificate("s3"), "--key", pki.key("s3"), "posix", layout.s3_data]
    return Program("s3-tls", args, plain.env)
