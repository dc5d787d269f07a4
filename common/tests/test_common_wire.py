"""Operator and agent one release apart understand each other."""

import inspect
from typing import Any

from coffer_common import proof, wire
from coffer_common.wire import GuestStatus, OfferedStrategy, Wire

OLD: dict[str, Any] = {  # of an agent that does not tell its backup strategies
    "etag": "e",
    "agent_version": "0.1.0",
    "boot_id": "b",
    "instance_uid": "i",
    "pod_uid": "p",
    "data": {"state": "LaidOut"},
    "engine": {"state": "Running"},
}


def test_each_message_can_be_built() -> None:
    messages = [
        found
        for module in (wire, proof)
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, Wire)
    ]
    assert len(messages) > 30
    for message in messages:
        message.model_rebuild()
        assert message.__pydantic_complete__, message


def test_an_older_agent_does_not_tell_what_it_offers() -> None:
    assert GuestStatus.model_validate(OLD).backup_strategies is None


def test_a_newer_agent_may_tell_more_of_a_strategy() -> None:
    offers = [{"name": "Snapshot", "since": "2.0"}, {"name": "Increment", "incremental": True}]
    status = GuestStatus.model_validate(OLD | {"backup_strategies": offers, "novelty": 1})
    assert status.backup_strategies == (
        OfferedStrategy(name="Snapshot"),
        OfferedStrategy(name="Increment", incremental=True),
    )


def test_what_is_offered_survives_the_way() -> None:
    status = GuestStatus.model_validate(OLD | {"backup_strategies": []})
    assert status.backup_strategies == (), "none is another thing than not known"
    assert GuestStatus.model_validate_json(status.model_dump_json()) == status
