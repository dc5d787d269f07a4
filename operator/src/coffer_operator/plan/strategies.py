"""Whether the agent's image has the backup strategies that are asked for.

Pure. Strategies are plug-ins of the guest image: only its agent knows them, and its word counts as
long as it can be reached. Where it is not known nothing is refused; the agent judges each task.
"""

from coffer_common.errors import UserError
from coffer_common.resources.backup import BackupSpec, BackupType
from coffer_common.resources.catalogue import DatastoreVersion
from coffer_common.resources.schedule import BackupSchedule
from coffer_common.wire import OfferedStrategy
from coffer_operator.plan import reasons
from coffer_operator.plan.wording import choice, nearest

Offers = tuple[OfferedStrategy, ...]  # by name


def refuse_strategy(
    spec: BackupSpec, strategy: str, version: str | None, offers: Offers | None
) -> UserError | None:
    """Why a Backup can never be taken by this strategy; None: it may.

    `strategy` is the one that counts, `version` the DatastoreVersion that names it where the Backup
    does not. `offers` are those of the instance's agent, None: not known.
    """
    instance = spec.instance_ref.name if spec.instance_ref is not None else ""
    if offers is None:
        return None
    found = next((offer for offer in offers if offer.name == strategy), None)
    if found is None and spec.strategy is not None:
        text = f"spec.strategy: the instance {instance} has no backup strategy {strategy}; "
        return _invalid(text + _instead(strategy, offers))
    if found is None:
        text = f"{_names(version, strategy, spec.type)}, which the instance {instance} has not; "
        return _invalid(f"{text}name another in spec.strategy: {_instead(strategy, offers)}")
    if spec.databases and not found.logical:
        logical = [offer.name for offer in offers if offer.logical]
        way_out = f"{choice(logical)}, or " if logical else ""
        text = f"spec.databases: {strategy} backs up everything; {way_out}leave out spec.databases"
        return _invalid(text)
    return None


def refuse_full(
    schedule: BackupSchedule, version: DatastoreVersion | None, offers: Offers | None
) -> UserError | None:
    """Why the full backups of a schedule can never be taken; None: they may."""
    return _refuse_version(schedule, version, BackupType.FULL, offers)


def refuse_increments(
    schedule: BackupSchedule, version: DatastoreVersion | None, offers: Offers | None
) -> UserError | None:
    """Why the increments of a schedule can never be taken; None: they may, or there are none."""
    if schedule.spec.incremental is None:
        return None
    return _refuse_version(schedule, version, BackupType.INCREMENTAL, offers)


def _refuse_version(
    schedule: BackupSchedule,
    version: DatastoreVersion | None,
    kind: BackupType,
    offers: Offers | None,
) -> UserError | None:
    """A schedule names no strategy: the one of the instance's version counts."""
    if version is None or offers is None:
        return None
    named = version.spec.backup_strategies
    strategy = named.full if kind is BackupType.FULL else named.incremental
    if strategy is None or any(offer.name == strategy for offer in offers):
        return None
    instance = schedule.spec.instance_ref.name
    text = f"{_names(version.metadata.name, strategy, kind)}, which the instance {instance} has not"
    until = "nothing is" if kind is BackupType.FULL else "only full ones are"
    way_out = f"{until} taken until the DatastoreVersion names another"
    return _invalid(f"{text}; {way_out}: {_instead(strategy, offers)}")


def _names(version: str | None, strategy: str, kind: BackupType) -> str:
    return f"{version} names the strategy {strategy} for {kind.value} backups"


def _instead(strategy: str, offers: Offers) -> str:
    """What there is, and which of it may be meant."""
    names = [f"{o.name} (increments)" if o.incremental else o.name for o in offers]
    if not names:
        return "its image has none"
    close = nearest(strategy, [offer.name for offer in offers])
    return choice(names) + (f"; did you mean {close}?" if close is not None else "")


def _invalid(text: str) -> UserError:
    return UserError(reasons.STRATEGY_INVALID, text)
