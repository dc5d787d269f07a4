"""Images on the nodes: brought into each node's containerd, asked for by content first.

There is no registry: an image that was not loaded here does not exist for the cluster.
"""

import json
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from coffer_cluster import console, locks, oci
from coffer_cluster.binaries import PAUSE, PROBE
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_cluster.paths import cache_dir
from coffer_cluster.sandbox import Sandbox

IMPORT_TIMEOUT_S = 600
CTR = ("ctr", "--namespace", "k8s.io")


def pause_image() -> str:
    return f"localhost/coffer/pause:{PAUSE.key()}"


def probe_image() -> str:
    """The image of the checks: one program, see `probe` without arguments."""
    return f"localhost/coffer/probe:{PROBE.key()}"


def ensure_own_archives() -> list[Path]:
    """The archives of the cluster's own images, made where they are missing."""
    archives = []
    for binary, name in ((PAUSE, pause_image()), (PROBE, probe_image())):
        archive = binary.folder / f"{binary.name}.tar"
        program = f"/{binary.name}"
        with locks.exclusive(cache_dir() / f"{binary.name}.lock", IMPORT_TIMEOUT_S):
            if not archive.exists():
                oci.write(archive, name, {program: binary.path}, [program])
        archives.append(archive)
    return archives


def loaded(node: Sandbox) -> dict[str, str]:
    """The digest of each image's manifest in the node's containerd, by name."""
    found = {}
    for line in node.execute([*CTR, "images", "list"]).splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2 and not fields[0].startswith("sha256:"):
            found[fields[0]] = fields[2]
    return found


def loaded_config(node: Sandbox, name: str) -> str | None:
    """The digest of the config of the image with that name, or None."""
    digest = loaded(node).get(name)
    if digest is None:
        return None
    manifest = json.loads(node.execute([*CTR, "content", "get", digest]))
    config = manifest.get("config") or {}
    return config.get("digest")


def load(nodes: Iterable[Sandbox], reference: str, name: str | None = None) -> str:
    """Bring an archive, or an image of buildah's storage, to every node; return its name."""
    path = Path(reference)
    if path.is_file():
        return _load_archive(nodes, path, name)
    return _load_built(nodes, reference, name or reference)


def _load_archive(nodes: Iterable[Sandbox], archive: Path, name: str | None) -> str:
    configs = oci.config_digests(archive)
    if len(configs) != 1:
        raise UnsupportedError(f"{archive} is no archive of exactly one image")
    ((own_name, config),) = configs.items()
    wanted = name or own_name
    if not wanted:
        raise UnsupportedError(f"{archive} does not name its image: give the name as well")
    missing = [node for node in nodes if loaded_config(node, wanted) != config]
    if missing:
        with console.step(f"loading {wanted} on {', '.join(node.name for node in missing)}"):
            _on_all(missing, archive, own_name, wanted)
    return wanted


def _load_built(nodes: Iterable[Sandbox], image: str, name: str) -> str:
    """From buildah; packed only if a node lacks it, since packing is the slow part."""
    try:
        config = run(["buildah", "inspect", "--type", "image", "-f", "{{.FromImageID}}", image])
    except ClusterError as error:
        raise UnsupportedError(
            f"{image} is neither an archive nor an image of buildah: {error}"
        ) from None
    digest = f"sha256:{config.strip()}"
    missing = [node for node in nodes if loaded_config(node, name) != digest]
    if not missing:
        return name
    with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        archive = Path(folder) / "image.tar"
        with console.step(f"packing {image}"):
            target = f"oci-archive:{archive}:{name}"
            # It is unpacked in a moment: compressing it would be most of the work.
            push = ["buildah", "push", "--quiet", "--disable-compression"]
            run([*push, image, target], timeout_s=IMPORT_TIMEOUT_S)
        return _load_archive(missing, archive, name)


def _on_all(nodes: list[Sandbox], archive: Path, own_name: str, wanted: str) -> None:
    def one(node: Sandbox) -> None:
        import_archive(node, archive)
        if own_name != wanted:
            node.execute([*CTR, "images", "tag", "--force", own_name, wanted])

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(one, nodes))


def import_archive(node: Sandbox, archive: Path) -> None:
    # As an open file: the node need not have the archive's folder among its mounts.
    argv = [*CTR, "images", "import", "--all-platforms", "-"]
    node.execute(argv, stdin_file=archive, timeout_s=IMPORT_TIMEOUT_S)


def copy_missing(source: Sandbox, target: Sandbox, scratch: Path) -> None:
    """Give a node every image that another one has, as the other has it."""
    names = sorted(dict(loaded(source).items() - loaded(target).items()))
    if not names:
        return
    archive = scratch / "images.tar"
    try:
        with console.step(f"copying {len(names)} images to {target.name}"):
            # Under /var/lib, which every node has.
            source.execute([*CTR, "images", "export", archive, *names], timeout_s=IMPORT_TIMEOUT_S)
            import_archive(target, archive)
    finally:
        archive.unlink(missing_ok=True)
