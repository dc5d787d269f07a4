"""The task `restoreDump`: statements of a backup into the running engine.

A running instance is not to be changed by half of a backup whose other half is damaged: so all of
it is read and authenticated first, and taken apart where only some databases are wanted, and then
once more for the engine. Should the engine refuse a
statement, those before it stay: the same backup again replaces them.
"""

from coffer_common.errors import Permanent, UserError
from coffer_common.wire import RestoreTask
from coffer_guest.pipeline import archive
from coffer_guest.pipeline.archive import OpenBackup
from coffer_guest.pipeline.process import NullSink, Sink
from coffer_guest.pipeline.stop import stopped_by_signal
from coffer_guest.strategies.backup.access import opened
from coffer_guest.strategies.backup.chain import open_chain
from coffer_guest.strategies.backup.restore import fitting
from coffer_guest.task_child import Outcome, TaskContext


def restore_dump(context: TaskContext) -> Outcome:
    """Payload: a RestoreTask; result: {path, databases}. Raises CofferError."""
    if context.instance is None:
        raise Permanent("a dump is loaded into an instance")
    task = context.request(RestoreTask)
    with stopped_by_signal() as stop, opened(task.storage) as access:
        chain = open_chain(access, task.path, task.digest, stop)
        strategy = fitting(chain, context.instance)
        if not strategy.logical:
            raise UserError(
                "NotLogical",
                f"a backup by {strategy.name} holds a data directory: restore it into a new "
                f"instance",
            )
        backup = chain[-1]
        held = _held(backup)
        wanted = _wanted(task, held)

        def filtered(sink: Sink) -> Sink:
            return strategy.selected(sink, wanted, held) if task.databases else sink

        total_bytes = 2 * backup.manifest.data.plain_bytes
        before_bytes = 0

        def progress(plain_bytes: int, _stored_bytes: int) -> None:
            context.report(before_bytes + plain_bytes, total_bytes)

        options = access.read_options(progress, whole=task.whole)
        archive.restore(backup, access.store, filtered(NullSink()), options, stop)
        before_bytes = total_bytes // 2
        sink = filtered(strategy.load_sink(context.site))
        archive.restore(backup, access.store, sink, access.read_options(progress), stop)
    what = f"{', '.join(wanted)} of {task.path}" if task.databases else task.path
    return Outcome(f"loaded {what}", {"path": task.path, "databases": list(wanted)})


def _held(backup: OpenBackup) -> tuple[str, ...]:
    names = backup.manifest.facts.extra.get("databases", [])
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _wanted(task: RestoreTask, held: tuple[str, ...]) -> tuple[str, ...]:
    """In the order of the dump. Raises UserError for what it does not hold."""
    missing = [name for name in task.databases if name not in held]
    if missing:
        raise UserError(
            "DatabaseMissing",
            f"the dump holds no database {', '.join(missing)}; it holds {', '.join(held)}",
        )
    return tuple(name for name in held if not task.databases or name in task.databases)
