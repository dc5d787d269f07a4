"""Carries out a plan, in its order; what is as wanted already causes no request.

Owns the writes to the API server for one instance. Decides nothing: a step that fails ends the
plan, and the next one starts from what is there then. Calls alone do not wait for one another: a
user whose password is missing holds back nobody else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from coffer_common import naming
from coffer_common.errors import Transient
from coffer_common.resources.operation import Operation
from coffer_operator.act.calls import Caller, call_name
from coffer_operator.act.failure import StepError
from coffer_operator.act.journal import Journal
from coffer_operator.act.report import Reporter
from coffer_operator.act.step import Steps
from coffer_operator.build.digest import digest, live_digest
from coffer_operator.guest.api import AgentUnreachableError
from coffer_operator.kube.api import (
    ABSENT,
    BY_NAME,
    ENDPOINT_SLICE,
    INSTANCE,
    OPERATION,
    POD,
    PVC,
    ROLE_BINDING,
    SECRET,
    STATEFUL_SET,
    ConflictError,
    Key,
    Kind,
    KubeApi,
    NotFoundError,
    Object,
    UnavailableError,
)
from coffer_operator.plan.model import (
    Annotate,
    Apply,
    Call,
    Delete,
    EmptySlice,
    EngineCall,
    EnsureDatabase,
    EnsureUser,
    EventNote,
    FillSlice,
    OperationStatusPatch,
    Plan,
    StartOperation,
)
from coffer_operator.plan.wording import name_taken
from coffer_operator.plan.world import World

AT_ONCE: Final = 4  # applies of one plan
# what would end every other call as well, and take its time for that
_ENDS_CALLS: Final = (AgentUnreachableError, UnavailableError)


class Issuer(Protocol):
    """Makes the certificates of agents."""

    def secret(self, world: World) -> Object:
        """The Secret with a new certificate for the agent of the World's instance."""
        ...


class Executor:
    """Carries out the plans of all instances."""

    def __init__(
        self,
        api: KubeApi,
        caller: Caller,
        issuer: Issuer,
        journal: Journal,
        reporter: Reporter,
        steps: Steps,
    ) -> None:
        self._api = api
        self._caller = caller
        self._issuer = issuer
        self._journal = journal
        self._reporter = reporter
        self._steps = steps
        self._step = steps.step

    def needed(self, key: Key, world: World, plan: Plan) -> Plan:
        """The plan without the applies that would change nothing."""
        return replace(
            plan, apply=tuple(a for a in plan.apply if not self._is_there(key, world, a))
        )

    async def act(self, key: Key, world: World, plan: Plan) -> None:
        """Everything but the reports, given what `needed` left. Raises StepError."""
        for deletion in plan.deletes:
            step = f"delete {deletion.kind} {deletion.name}"
            await self._step(step, partial(self._delete, key, deletion))
        first, *later = _batches(plan.apply)
        steps = [partial(self._apply_step, key, world, wanted) for wanted in first]
        if plan.certificate is not None:
            secret = self._issuer.secret(world)
            issue = partial(self._apply, key, world, SECRET, secret)
            steps.insert(0, partial(self._step, "certificate", issue))
        await _all(steps)
        for batch in later:
            await _all([partial(self._apply_step, key, world, wanted) for wanted in batch])
        for note in plan.annotate:
            await self._step(
                f"annotate {note.kind} {note.name}", partial(self._annotate, key, note)
            )
        for change in plan.slices:
            await self._step(
                f"endpoints {change.name}",
                partial(self._write_slice, key, world, change),
                (ENDPOINT_SLICE, change.name),
            )
        await self._call(key, world, plan)

    async def _call(self, key: Key, world: World, plan: Plan) -> None:
        """All calls that can be made; then raises the gravest failure, the first of its kind."""
        failures: list[StepError] = []
        failed: list[Call] = []
        for call in plan.calls:
            if isinstance(call, EnsureUser) and _lacks_database(call, failed):
                continue
            try:
                await self._step(
                    call_name(call), partial(self._caller.carry_out, key, world.pod, call)
                )
            except StepError as error:
                failures.append(error)
                failed.append(call)
                if isinstance(error.__cause__, _ENDS_CALLS) or not self._steps.may_write():
                    failed = list(plan.calls)
                    break
        if plan.start_operation is not None:
            try:
                await self._start_operation(key, plan.start_operation)
            except StepError as error:
                failures.append(error)
        if failures:
            gravest = next((error for error in failures if error.permanent), failures[0])
            gravest.called = not any(isinstance(call, EngineCall) for call in failed)
            raise gravest

    async def _start_operation(self, key: Key, start: StartOperation) -> None:
        """The caches are not told: the event that it is there is what wakes the instance."""

        async def create() -> None:
            try:
                await self._api.create(OPERATION, dict(start.obj))
            except ConflictError:
                return  # made before; what became of it stands in its status

        await self._step(f"create Operation {start.obj['metadata']['name']}", create)

    async def report(self, key: Key, world: World, plan: Plan, *, acted: bool) -> None:
        """Status, Operations and Events. `acted`: everything before was carried out.

        Raises StepError.
        """
        if plan.status is not None:
            metadata, present = world.instance.metadata, world.instance.status
            write = partial(
                self._reporter.patch_status, key, INSTANCE, metadata, present, plan.status
            )
            await self._step("status", write, (INSTANCE, key.name))
        due = tuple(patch for patch in plan.operations if acted or not patch.after_calls)
        await self._report_operations(key, world.operations, due)
        early = {patch.name for patch in plan.operations if patch not in due}
        for note in plan.events:
            if note.operation not in early:
                await self._step("event", partial(self._announce, world, note))
        await self._remove_expired(key, world.operations, plan)

    async def report_orphan(self, key: Key, operation: Operation, plan: Plan) -> None:
        """What becomes of an Operation whose instance does not exist. Raises StepError."""
        await self._report_operations(key, (operation,), plan.operations)
        for note in plan.events:
            announce = partial(self._reporter.announce, OPERATION, operation.metadata, note)
            await self._step("event", announce)
        await self._remove_expired(key, (operation,), plan)

    async def _report_operations(
        self, key: Key, operations: Sequence[Operation], patches: Sequence[OperationStatusPatch]
    ) -> None:
        for patch in patches:
            write = partial(self._write_operation, key, operations, patch)
            await self._step(f"Operation {patch.name}", write, (OPERATION, patch.name))

    async def _remove_expired(self, key: Key, operations: Sequence[Operation], plan: Plan) -> None:
        for operation in operations:
            if operation.metadata.name in plan.expired_operations:
                remove = partial(self._remove, key, operation)
                await self._step(f"delete Operation {operation.metadata.name}", remove)

    # --- objects ---------------------------------------------------------------------------------
    def _is_there(self, key: Key, world: World, apply: Apply) -> bool:
        kind, name = apply.obj["kind"], apply.obj["metadata"]["name"]
        child = world.children.get((kind, name))
        if child is None or not child.ours:
            return False
        if apply.create_only:
            return True
        wanted = digest(apply.obj)
        return child.digest == wanted or self._journal.is_settled(
            key, kind, name, wanted, child.digest
        )

    async def _apply_step(self, key: Key, world: World, apply: Apply) -> None:
        kind = BY_NAME[apply.obj["kind"]]
        name = apply.obj["metadata"]["name"]
        await self._step(
            f"apply {kind.kind} {name}", partial(self._apply, key, world, kind, apply.obj)
        )

    async def _apply(self, key: Key, world: World, kind: Kind, wanted: Mapping[str, Any]) -> None:
        """An object that is not known to be there is only ever created, never taken over."""
        obj = dict(wanted)
        name = obj["metadata"]["name"]
        child = world.children.get((kind.kind, name))
        known = child is not None and child.ours
        if not known:
            obj["metadata"] = {**obj["metadata"], "resourceVersion": ABSENT}
        try:
            live = await self._api.apply(kind, obj)
        except ConflictError:
            if not known:
                await self._look_at(key, kind, name)
            raise
        self._journal.wrote(key, kind, live)
        if live_digest(live, naming.FIELD_MANAGER) != digest(wanted):
            self._journal.settle(key, kind.kind, wanted, live)

    async def _look_at(self, key: Key, kind: Kind, name: str) -> None:
        """Something bears a name that we need: ours after all, or another's."""
        try:
            found = await self._api.get(kind, key.namespace, name)
        except NotFoundError:
            return
        if not self._journal.is_ours(key, found):
            self._journal.found_foreign(key, kind, found)
            raise name_taken(kind.kind, name)
        self._journal.wrote(key, kind, found)

    async def _delete(self, key: Key, deletion: Delete) -> None:
        await self._api.delete(
            BY_NAME[deletion.kind],
            key.namespace,
            deletion.name,
            uid=deletion.uid,
            grace_period_s=deletion.grace_period_s,
        )

    async def _annotate(self, key: Key, note: Annotate) -> None:
        metadata: dict[str, Any] = {"uid": note.uid, "annotations": dict(note.annotations)}
        if note.labels:
            metadata["labels"] = dict(note.labels)
        if note.owner_references is not None:
            metadata["ownerReferences"] = [dict(r) for r in note.owner_references]
        kind = BY_NAME[note.kind]
        live = await self._api.patch(kind, key.namespace, note.name, {"metadata": metadata})
        self._journal.wrote(key, kind, live)

    async def _write_slice(self, key: Key, world: World, change: EmptySlice | FillSlice) -> None:
        if isinstance(change, EmptySlice):
            await self._confirm_stale(key, world)
        patch: dict[str, Any] = {
            "metadata": {"resourceVersion": change.resource_version},
            "endpoints": [],
        }
        if isinstance(change, FillSlice):
            patch["endpoints"] = [_endpoint(key, change)]
            patch["ports"] = [{"port": change.port, "protocol": "TCP"}]
        live = await self._api.patch(ENDPOINT_SLICE, key.namespace, change.name, patch)
        self._journal.wrote(key, ENDPOINT_SLICE, live)

    async def _confirm_stale(self, key: Key, world: World) -> None:
        """Ask for the pod itself: the cache of pods may be behind that of slices.

        Taking a pod that serves out of its slice is an outage. Raises Transient if it is there.
        """
        fact = world.read_write
        if fact is None:
            return
        try:
            pod = await self._api.get(POD, key.namespace, naming.pod(key.name))
        except NotFoundError:
            return
        status = pod.get("status") or {}
        ended = status.get("phase") in ("Succeeded", "Failed")
        same = fact.target_pod_uid in (None, pod["metadata"]["uid"])
        if same and not ended and status.get("podIP") in fact.addresses:
            raise Transient(f"the pod {naming.pod(key.name)} has that address; the cache is behind")

    # --- reports ---------------------------------------------------------------------------------
    async def _write_operation(
        self, key: Key, operations: Sequence[Operation], patch: OperationStatusPatch
    ) -> None:
        for operation in operations:
            if operation.metadata.name == patch.name:
                await self._reporter.patch_status(
                    key, OPERATION, operation.metadata, operation.status, patch.status
                )

    async def _announce(self, world: World, note: EventNote) -> None:
        if note.operation is None:
            await self._reporter.announce(INSTANCE, world.instance.metadata, note)
            return
        for operation in world.operations:
            if operation.metadata.name == note.operation:
                await self._reporter.announce(OPERATION, operation.metadata, note)

    async def _remove(self, key: Key, operation: Operation) -> None:
        metadata = operation.metadata
        await self._api.delete(OPERATION, key.namespace, metadata.name, uid=metadata.uid)


def _batches(applies: Sequence[Apply]) -> tuple[list[Apply], ...]:
    """What may be applied at the same time, in order; the first may be empty.

    A volume stays when the rest goes: it is made when all names are ours. A StatefulSet starts
    work that needs the others. A RoleBinding comes last: the API server refuses it (404) until its
    own cache has the Role, some milliseconds after that was written.
    """
    last = (PVC.kind, STATEFUL_SET.kind, ROLE_BINDING.kind)
    first = [a for a in applies if a.obj["kind"] not in last]
    return first, *([a for a in applies if a.obj["kind"] == kind] for kind in last)


def _lacks_database(user: EnsureUser, failed: Sequence[Call]) -> bool:
    """Whether a database that the user is to be granted could not be made just now."""
    missing = {call.name for call in failed if isinstance(call, EnsureDatabase)}
    return not missing.isdisjoint(user.databases)


def _endpoint(key: Key, change: FillSlice) -> Object:
    return {
        "addresses": [change.address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": change.node,
        "targetRef": {
            "kind": "Pod",
            "name": change.pod_name,
            "namespace": key.namespace,
            "uid": change.pod_uid,
        },
    }


async def _all(steps: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """A few at the same time; raises the first error, in the order of the steps, after all ended.

    More at once would cost more than they gain: each opens a connection with TLS of its own.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    async def take_turn(step: Callable[[], Awaitable[None]]) -> None:
        async with turns:
            await step()

    for outcome in await asyncio.gather(*map(take_turn, steps), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
