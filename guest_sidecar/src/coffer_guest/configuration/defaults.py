"""The engine's own values of parameters, for an engine that cannot be brought back to them.

From validation-rules.json, without the rules: an agent keeps what it imports, and needs no more.
Blocking.
"""

import json

from coffer_common.errors import Permanent
from coffer_common.templates import VALIDATION_RULES, find
from coffer_common.wire import Value


def defaults(datastore: str, version: str) -> dict[str, Value]:
    """Parameter names to the engine's defaults, as far as the rules tell. Raises OSError."""
    try:
        text = find(datastore, version, VALIDATION_RULES).read_text(encoding="utf-8")
    except Permanent:
        return {}
    entries = json.loads(text)["configuration-parameters"]
    return {
        entry["name"]: entry["default"] for entry in entries if entry.get("default") is not None
    }
