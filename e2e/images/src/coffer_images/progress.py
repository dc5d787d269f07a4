"""What a builder's output says about its progress: the stages in which it really does something.

Pure. Reads the output of `buildah build` and of `docker build --progress=plain`.
"""

import re
from dataclasses import dataclass, field

_BUILDAH_STEP = re.compile(r"\[(\d+)/\d+\] STEP \d+/\d+: (\w+)(?:.* AS (\S+)$)?")
_BUILDAH_DONE = ("--> ", "[", "COMMIT ")
_DOCKER_STEP = re.compile(r"#(\d+) \[(?:linux/\S+ )?([\w-]+) +\d+/\d+\] (?:RUN|COPY|ADD)")
_DOCKER_OUTPUT = re.compile(r"#(\d+) \d+\.\d+ ")


@dataclass
class Stages:
    """Fed line by line, it names each stage once: at the first output of a step in it.

    Steps taken from the cache have no output, and those that only copy are quick.
    """

    _names: dict[str, str] = field(default_factory=dict)
    _running: str | None = None
    _said: set[str] = field(default_factory=set)

    def feed(self, line: str) -> str | None:
        """The name of a stage that has begun to work, or None."""
        if match := _BUILDAH_STEP.match(line):
            number, word, name = match.groups()
            if word == "FROM" and name:
                self._names[number] = name
            self._running = self._names.get(number) if word == "RUN" else None
            return None
        if match := _DOCKER_STEP.match(line):
            self._names[f"#{match[1]}"] = match[2]
            return None
        if match := _DOCKER_OUTPUT.match(line):
            return self._say(self._names.get(f"#{match[1]}"))
        if line.startswith(_BUILDAH_DONE):
            self._running = None
            return None
        return self._say(self._running)

    def _say(self, stage: str | None) -> str | None:
        if stage is None or stage in self._said:
            return None
        self._said.add(stage)
        return stage
