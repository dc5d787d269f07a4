"""Small JSON files that only root may read."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


def write_json(path: Path, content: Mapping[str, str]) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(dict(content), file)
    unfinished.rename(path)


def read_json(path: Path) -> dict[str, str]:
    content = json.loads(path.read_text())
    return {str(key): str(value) for key, value in content.items()}
