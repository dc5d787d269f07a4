"""What an image is made from, read once: the tag is its hash, the build context its copy.

So an image always holds exactly what its tag stands for, however often files change meanwhile.
"""

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_images import dockerfile

REPOSITORY = "localhost/coffer"
TAG_LENGTH = 12
#: Never part of an image; .dockerignore says the same to those who build by hand.
IGNORED = ("__pycache__", "*.egg-info")


@dataclass(frozen=True)
class File:
    """A file of the build context. Of its mode only the run bit counts: umasks differ."""

    content: bytes
    executable: bool


@dataclass(frozen=True)
class Inputs:
    """All that decides what is in the image of one target."""

    target: str
    dockerfile: str
    instructions: tuple[str, ...]
    files: dict[str, File]
    folders: tuple[str, ...]

    @property
    def tag(self) -> str:
        """The hash of the target's instructions and files; other targets' do not matter."""
        digest = hashlib.sha256()
        for part in (*self.instructions, "", *self.folders, ""):
            digest.update(f"{part}\n".encode())
        for name, file in sorted(self.files.items()):
            content = hashlib.sha256(file.content).hexdigest()
            digest.update(f"{name} {file.executable:d} {content}\n".encode())
        return digest.hexdigest()[:TAG_LENGTH]

    @property
    def image(self) -> str:
        return f"{REPOSITORY}/{self.target}:{self.tag}"

    def write_context(self, folder: Path) -> None:
        """The Dockerfile and the files, as a folder to build from."""
        (folder / "Dockerfile").write_text(self.dockerfile)
        for name in self.folders:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, file in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            path.chmod(0o755 if file.executable else 0o644)


def target_names(root: Path) -> list[str]:
    return dockerfile.targets(dockerfile.parse(_dockerfile(root)))


def read(root: Path, target: str) -> Inputs:
    """The target's inputs as they are now. Raises UnsupportedError for an unknown target."""
    text = _dockerfile(root)
    stages = dockerfile.parse(text)
    if target not in dockerfile.targets(stages):
        known = ", ".join(dockerfile.targets(stages))
        raise UnsupportedError(f"there is no image {target}; there are: {known}")
    needed = dockerfile.made_of(stages, target)
    files: dict[str, File] = {}
    folders: list[str] = []
    for source in sorted({source for stage in needed for source in stage.sources}):
        path = root / source
        if path.is_dir():
            folders.append(source)
        for found in _walk(path):
            files[found.relative_to(root).as_posix()] = _read(found)
    instructions = tuple(line for stage in needed for line in stage.instructions)
    return Inputs(target, text, instructions, files, tuple(folders))


def _dockerfile(root: Path) -> str:
    return _read(root / "Dockerfile").content.decode()


def _walk(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = []
    for entry in path.iterdir():
        if not any(fnmatch(entry.name, pattern) for pattern in IGNORED):
            found += _walk(entry)
    return found


def _read(path: Path) -> File:
    try:
        return File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
    except OSError as error:
        raise ClusterError(f"cannot read what the images are made from: {error}") from None
