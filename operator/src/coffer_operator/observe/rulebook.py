"""The rules of each DatastoreVersion's parameters: those packaged, with the administrator's.

Owns what was read, and never fails: a version without packaged rules has the administrator's alone,
and one whose own rules are wrong keeps the last that were right.
"""

import functools
import logging
from collections.abc import Mapping
from typing import Final

from coffer_common import rules
from coffer_common.errors import CofferError, UserError
from coffer_common.resources.catalogue import DatastoreVersion
from coffer_common.rules import Rules

log = logging.getLogger(__name__)

_NONE: Final = Rules({})


class Rulebook:
    """Rules by the name of the DatastoreVersion."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[DatastoreVersion, Rules]] = {}

    def rules(self, versions: Mapping[str, DatastoreVersion]) -> Mapping[str, Rules]:
        """The rules of these versions; of those that did not change, as they were read before."""
        self._read = {name: self._one(name, version) for name, version in versions.items()}
        return {name: found for name, (_, found) in self._read.items()}

    def _one(self, name: str, version: DatastoreVersion) -> tuple[DatastoreVersion, Rules]:
        former = self._read.get(name)
        if former is not None and former[0] is version:
            return former
        shipped = packaged(version.spec.datastore, version.spec.version)
        try:
            return version, shipped.overridden(version.spec.parameters)
        except UserError as error:
            log.warning("DatastoreVersion %s: spec.parameters: %s", name, error)
            return version, former[1] if former is not None else shipped


@functools.cache
def packaged(datastore: str, version: str) -> Rules:
    """The rules that come with Coffer; those of no parameter for an engine without any."""
    try:
        return rules.load(datastore, version)
    except (CofferError, OSError, ValueError) as error:
        log.warning("%s %s: no rules for its parameters: %s", datastore, version, error)
        return _NONE
