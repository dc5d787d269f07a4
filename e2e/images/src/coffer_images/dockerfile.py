"""What the Dockerfile says: its targets, the stages each is made of, the files each copies.

Pure. It is read rather than repeated, so that a new target needs an entry nowhere else. Understands
what the project's Dockerfile uses: stages with names, COPY without globs, no ONBUILD.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coffer_cluster.errors import UnsupportedError

OPERATOR = "operator"
GUEST_PREFIX = "guest-"


@dataclass
class Stage:
    """One FROM with the instructions up to the next."""

    name: str
    #: The stage, or the image, that it starts from.
    parent: str
    instructions: list[str] = field(default_factory=list)
    #: What it copies from the build context, relative to its root.
    sources: list[str] = field(default_factory=list)
    #: The stages that it copies from.
    copies_from: list[str] = field(default_factory=list)


def parse(text: str) -> dict[str, Stage]:
    """The stages by name, in their order. Raises UnsupportedError for a nameless one."""
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for instruction in _instructions(text):
        word, *rest = instruction.split()
        if word == "FROM":
            if len(rest) != 3 or rest[1] != "AS":
                raise UnsupportedError(f"Dockerfile: not `FROM image AS name`: {instruction}")
            current = stages[rest[2]] = Stage(rest[2], rest[0])
        if current is None:
            raise UnsupportedError(f"Dockerfile: before the first FROM: {instruction}")
        current.instructions.append(instruction)
        if word == "COPY":
            options = [option for option in rest if option.startswith("--")]
            origins = [option.removeprefix("--from=") for option in options if "--from=" in option]
            current.copies_from += origins
            if not origins:
                current.sources += rest[len(options) : -1]
    return stages


def _instructions(text: str) -> list[str]:
    """Whole instructions: comments dropped, continued lines joined."""
    lines = (line.strip() for line in text.splitlines())
    joined = "\n".join(line for line in lines if line and not line.startswith("#"))
    return joined.replace("\\\n", " ").splitlines()


def targets(stages: Mapping[str, Stage]) -> list[str]:
    """The stages that are images of their own: the operator and the guests."""
    return [name for name in stages if name == OPERATOR or name.startswith(GUEST_PREFIX)]


def made_of(stages: Mapping[str, Stage], target: str) -> list[Stage]:
    """The target's stage and all that it builds on, in the order of the file."""
    needed: set[str] = set()
    waiting = [target]
    while waiting:
        name = waiting.pop()
        if name in stages and name not in needed:
            needed.add(name)
            waiting += [stages[name].parent, *stages[name].copies_from]
    return [stage for stage in stages.values() if stage.name in needed]


def external_images(stages: Mapping[str, Stage]) -> set[str]:
    """The images that have to come from elsewhere."""
    return {stage.parent for stage in stages.values()} - set(stages)
