"""Where a pod may run: labels of nodes by the syntax of Kubernetes. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from coffer_common.errors import UserError
from coffer_common.resources.instance import SchedulingSpec
from coffer_operator.plan import reasons

# Source: "Labels and Selectors" of the Kubernetes documentation, syntax and character set
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_MAX_PREFIX: Final = 253
_WORDS: Final = "at most 63 letters, digits, -, _ and ., with a letter or digit at both ends"


def check_scheduling(scheduling: SchedulingSpec) -> Iterator[UserError]:
    """The errors in spec.scheduling."""
    field = "spec.scheduling.nodeSelector"
    for key, value in scheduling.node_selector.items():
        if not _is_key(key):
            yield UserError(
                reasons.BAD_NODE_SELECTOR,
                f"{field}: {key!r} is no label of a node: {_WORDS}, and in front of that at most "
                "a DNS name and a /; write one such as topology.kubernetes.io/zone",
            )
        if value and _NAME.fullmatch(value) is None:
            yield UserError(
                reasons.BAD_NODE_SELECTOR,
                f"{field}: {value!r} is no value of the label {key!r}: {_WORDS}",
            )


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _MAX_PREFIX or _PREFIX.fullmatch(prefix) is None):
        return False
    return _NAME.fullmatch(name) is not None
