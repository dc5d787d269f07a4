"""OCI archives of a few static files, for the images that the cluster itself needs.

Written by hand because there may be no tool to build images yet. The same files always give the
same bytes, and so the same digest.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LAYOUT_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
NAME_ANNOTATION = "org.opencontainers.image.ref.name"


def write(path: Path, name: str, files: Mapping[str, Path], entrypoint: Sequence[str]) -> None:
    """An archive at `path` with one image: the files, and a /tmp that all may write to."""
    layer = _layer(files)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, config),
            "layers": [_descriptor(LAYER_TYPE, layer)],
        }
    )
    entry = _descriptor(MANIFEST_TYPE, manifest) | {"annotations": {NAME_ANNOTATION: name}}
    index = _json({"schemaVersion": 2, "manifests": [entry]})
    unfinished = path.with_name(f"{path.name}.unfinished")
    with tarfile.open(unfinished, "w") as archive:
        _add(archive, "oci-layout", LAYOUT_VERSION)
        _add(archive, "index.json", index)
        for blob in (layer, config, manifest):
            _add(archive, f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}", blob)
    unfinished.rename(path)


def _layer(files: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for target, source in sorted(files.items()):
            _add(layer, target.strip("/"), source.read_bytes(), mode=0o755)
        scratch = tarfile.TarInfo("tmp")
        scratch.type, scratch.mode = tarfile.DIRTYPE, 0o1777
        layer.addfile(scratch)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, io.BytesIO(content))


def _json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def config_digests(archive: Path) -> dict[str, str]:
    """The digest of each image's config, by the image's name as the archive gives it.

    The config names the layers by content: two archives of one image may be packed differently,
    and still have this in common. Archives of `docker save` are read as well.
    """
    try:
        with tarfile.open(archive) as tar:
            names = set(tar.getnames())
            if "index.json" in names:
                return _oci_configs(tar)
            if "manifest.json" in names:
                return _docker_configs(tar)
    except (tarfile.TarError, KeyError, ValueError):
        return {}  # no archive of images
    return {}


def _read(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.extractfile(name)
    return json.load(member) if member else None


def _oci_configs(tar: tarfile.TarFile) -> dict[str, str]:
    found = {}
    for entry in _read(tar, "index.json")["manifests"]:
        manifest = _read(tar, f"blobs/{entry['digest'].replace(':', '/')}")
        annotations = entry.get("annotations") or {}
        name = annotations.get("io.containerd.image.name") or annotations.get(NAME_ANNOTATION, "")
        if "config" in manifest:
            found[name] = manifest["config"]["digest"]
    return found


def _docker_configs(tar: tarfile.TarFile) -> dict[str, str]:
    found = {}
    for entry in _read(tar, "manifest.json"):
        digest = Path(entry["Config"]).name.removesuffix(".json")
        for name in entry.get("RepoTags") or [""]:
            found[name] = f"sha256:{digest}"
    return found
