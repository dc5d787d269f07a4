"""The programs that are built from source, each once per machine and version of its inputs.

A built thing is a folder CACHE/<name>/<key>/ that holds the program; the key is the hash of all
that goes into it. It is built under another name, run once, and only then renamed: what has the
name works. Nothing here touches a cluster.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from coffer_cluster import console, locks
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError
from coffer_cluster.golang import environment, go_program
from coffer_cluster.paths import GO_SOURCES, cache_dir

KUBERNETES_VERSION = "v1.34.4"
BUILD_TIMEOUT_S = 45 * 60
KEY_DIGITS = 16


@dataclass(frozen=True)
class Binary:
    """One program: what go builds, and how.

    `module` is a folder of our Go sources; without one, `package@version` is installed as its
    authors locked it.
    """

    name: str
    package: str
    module: str = ""
    version: str = ""
    tags: str = ""
    ldflags: str = "-s -w"
    cgo: bool = False
    links: tuple[str, ...] = ()
    check: tuple[str, ...] = ("--version",)
    minutes: float = field(default=1, compare=False)

    def key(self) -> str:
        digest = hashlib.sha256()
        recipe = (self.package, self.version, self.tags, self.ldflags, str(self.cgo), *self.links)
        digest.update("\0".join(recipe).encode())
        for source in self._sources():
            digest.update(f"\0{source.relative_to(GO_SOURCES)}\0".encode())
            digest.update(source.read_bytes())
        return digest.hexdigest()[:KEY_DIGITS]

    def _sources(self) -> list[Path]:
        if not self.module:
            return []
        folder = GO_SOURCES / self.module
        wanted = {folder / "go.mod", folder / "go.sum"}
        # A package of a module with several programs depends on its own folder alone.
        wanted.update((folder / self.package).glob("*.go"))
        return sorted(path for path in wanted if path.exists())

    @property
    def folder(self) -> Path:
        return cache_dir() / self.name / self.key()

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def link(self, name: str) -> Path:
        return self.folder / name

    @property
    def built(self) -> bool:
        return self.path.exists()


_VERSION_PACKAGE = "k8s.io/component-base/version"
_MAJOR, _MINOR = KUBERNETES_VERSION.removeprefix("v").split(".")[:2]

KUBERNETES = Binary(
    name="kubernetes",
    module="kubernetes",
    package=".",
    tags="providerless dockerless",
    ldflags=f"-s -w -X {_VERSION_PACKAGE}.gitVersion={KUBERNETES_VERSION}"
    f" -X {_VERSION_PACKAGE}.gitMajor={_MAJOR} -X {_VERSION_PACKAGE}.gitMinor={_MINOR}",
    links=("kubectl",),
    check=("kubelet", "--version"),
    minutes=5,
)
INIT = Binary(name="init", module="tools", package="./init")
PAUSE = Binary(name="pause", module="tools", package="./pause", check=())
PROBE = Binary(name="probe", module="tools", package="./probe", check=("id",))
CSI = Binary(name="csi", module="csi", package=".", check=("-version",))
PROVISIONER = Binary(
    name="csi-provisioner",
    module="provisioner",
    package="github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner",
    minutes=3,
)
RESIZER = Binary(
    name="csi-resizer",
    package="github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer",
    version="v2.3.0",
    minutes=3,
)
COREDNS = Binary(
    name="coredns",
    package="github.com/coredns/coredns",
    version="v1.12.4",
    check=("-version",),
    minutes=2,
)
S3 = Binary(
    name="versitygw",
    package="github.com/versity/versitygw/cmd/versitygw",
    version="v1.8.0",
    cgo=True,
    minutes=2,
)
HELM = Binary(
    name="helm",
    package="helm.sh/helm/v3/cmd/helm",
    version="v3.19.4",
    check=("version", "--short"),
)

REGISTRY = Binary(
    name="registry",
    package="github.com/distribution/distribution/v3/cmd/registry",
    version="v3.0.0",
    minutes=2,
)

#: What a cluster runs, the slowest first.
CLUSTER = (KUBERNETES, INIT, PAUSE, PROBE, CSI, PROVISIONER, RESIZER, COREDNS, S3)
#: And what people and tests use beside it.
ALL = (*CLUSTER, HELM, REGISTRY)


def ensure(binaries: Iterable[Binary] = ALL) -> None:
    """Build what is missing, one after the other: each build takes all the cores by itself."""
    for binary in binaries:
        if binary.built:
            continue
        with locks.exclusive(cache_dir() / f"{binary.name}.lock", BUILD_TIMEOUT_S):
            if not binary.built:
                about = f"about {binary.minutes:g} min on two cores, the first time only"
                with console.step(f"building {binary.name} ({about})"):
                    _build(binary)


def _build(binary: Binary) -> None:
    unfinished = binary.folder.with_name(f"{binary.key()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    target = unfinished / binary.name
    try:
        _compile(binary, target)
    except ClusterError as error:
        # Modules are downloaded in it: once more, what has come already is kept.
        console.say(f"{error}; once more")
        _compile(binary, target)
    if binary.check:
        run([target, *binary.check])
    for link in binary.links:
        (unfinished / link).symlink_to(binary.name)
    unfinished.rename(binary.folder)


def _compile(binary: Binary, target: Path) -> None:
    # A static program runs in an image without libraries; the S3 server needs the C library's
    # resolver and extended attributes.
    cgo = {"CGO_ENABLED": "1" if binary.cgo else "0"}
    options = ["-trimpath", f"-ldflags={binary.ldflags}", f"-tags={binary.tags}"]
    go = ["nice", "-n", "10", str(go_program())]
    if binary.module:
        run(
            [*go, "build", *options, "-o", target, binary.package],
            cwd=GO_SOURCES / binary.module,
            env=environment(**cgo),
            timeout_s=BUILD_TIMEOUT_S,
        )
        return
    run(
        [*go, "install", *options, f"{binary.package}@{binary.version}"],
        env=environment(**cgo, GOBIN=os.fspath(target.parent)),
        timeout_s=BUILD_TIMEOUT_S,
    )
    if not target.exists():
        raise ClusterError(f"go install made no {target.name} of {binary.package}")
