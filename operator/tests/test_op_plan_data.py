"""The first rule: no new volume where data have been, and none touched that is not known."""

from dataclasses import replace

import pytest

from coffer_common.wire import DataState, EngineState
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import Plan
from coffer_operator.plan.world import World
from op_plan_cluster import advance, ready_world, silent, with_data
from op_plan_told import conditions, writes
from op_plan_worlds import edited, later, operation, with_status, world


def makes_volume(plan: Plan) -> bool:
    return any(item.obj["kind"] == "PersistentVolumeClaim" for item in plan.apply)


def assert_error(plan: Plan, reason: str) -> str:
    assert not makes_volume(plan)
    assert plan.deletes == ()
    assert plan.status is not None
    assert plan.status["phase"] == "Error"
    assert conditions(plan)["Stalled"] == ("True", reason)
    assert conditions(plan)["VolumeHealthy"] == ("False", reason)
    return str(next(c["message"] for c in plan.status["conditions"] if c["type"] == "Ready"))


def lost_by_status(subject: World) -> World:
    return replace(subject, volume=None, pod=None, agent=None)


def lost_by_configuration(subject: World) -> World:
    return with_status(lost_by_status(subject), None)


def lost_by_agent(subject: World) -> World:
    bare = with_status(replace(subject, volume=None), None)
    children = {k: v for k, v in bare.children.items() if k[0] != "ConfigMap"}
    return replace(bare, children=children)


@pytest.mark.parametrize("lose", [lost_by_status, lost_by_configuration, lost_by_agent])
def test_a_lost_claim_is_an_error_and_never_made_again(lose: object) -> None:
    assert callable(lose)
    subject = lose(ready_world())
    plan = plan_instance(subject)
    message = assert_error(plan, "VolumeLost")
    assert "data-1" in message
    assert "bind a claim" in message
    after = advance(subject, plan)
    assert writes(after, plan_instance(after)) == []


def test_a_lost_persistent_volume_is_an_error() -> None:
    subject = ready_world()
    assert subject.volume is not None
    plan = plan_instance(replace(subject, volume=replace(subject.volume, lost=True)))
    assert_error(plan, "VolumeLost")


def test_an_empty_volume_in_its_place_is_an_error() -> None:
    subject = ready_world()
    assert subject.volume is not None
    swapped = replace(
        subject,
        volume=replace(
            subject.volume,
            uid="uid-new",
            ours=False,
            data_id=None,
            datastore_version=None,
            group=None,
            role=None,
        ),
    )
    waiting = plan_instance(replace(swapped, agent=None))
    assert waiting.annotate == (), "nothing is written to it before the agent has looked"
    plan = plan_instance(with_data(swapped, DataState.LOST, data_id=None))
    assert_error(plan, "VolumeLost")
    assert plan.annotate == ()
    assert plan.status is not None
    assert plan.status["dataId"] == "data-1"


def test_a_volume_with_other_data_in_its_place_is_an_error() -> None:
    subject = ready_world()
    assert subject.volume is not None
    told = replace(subject, volume=replace(subject.volume, data_id="data-2"))
    plan = plan_instance(told)
    assert_error(plan, "VolumeMismatch")
    assert (plan.apply, plan.annotate) == ((), ())
    plan = plan_instance(with_data(subject, DataState.FOREIGN, message="it holds other data"))
    assert_error(plan, "VolumeReplaced")
    plan = plan_instance(with_data(subject, DataState.LAID_OUT, data_id="data-2"))
    assert_error(plan, "VolumeReplaced")
    assert plan.annotate == ()


def test_the_right_volume_back_in_its_place_heals() -> None:
    subject = ready_world()
    lost = replace(subject, volume=None)
    lost = advance(lost, plan_instance(lost))
    plan = plan_instance(replace(lost, volume=subject.volume))
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert [event.reason for event in plan.events] == ["Recovered"]


def test_a_failed_layout_is_an_error_with_a_way_out() -> None:
    subject = with_data(ready_world(), DataState.FAILED, message="no space")
    plan = plan_instance(subject)
    message = assert_error(plan, "PrepareFailed")
    assert "no space" in message
    assert "ResetStatus" in message


def test_a_claim_under_deletion_keeps_its_pod() -> None:
    subject = ready_world()
    assert subject.volume is not None
    assert subject.pod is not None
    going = replace(subject, volume=replace(subject.volume, deleting=True))
    plan = plan_instance(going)
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert conditions(plan)["VolumeHealthy"] == ("False", "VolumeDeleting")
    assert [event.reason for event in plan.events] == ["VolumeDeleting"]
    stopped = replace(going, pod=replace(subject.pod, phase="Failed", template_hash="old"))
    assert plan_instance(stopped).deletes == ()
    asked = replace(edited(going, flavor="small"), operations=(operation(),))
    asked = advance(asked, plan_instance(asked))
    assert plan_instance(asked).deletes == (), "a restart would finish the deletion"


def test_an_agents_last_word_on_the_data_counts_while_it_is_silent() -> None:
    subject = silent(with_data(ready_world(), DataState.LOST))
    assert_error(plan_instance(subject), "VolumeLost")


def test_silence_is_no_loss() -> None:
    subject = later(silent(ready_world()), 7200)
    plan = plan_instance(subject)
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert conditions(plan)["VolumeHealthy"][0] == "True"


def test_use_is_shown_in_whole_percents() -> None:
    subject = ready_world()
    assert subject.agent is not None
    size = subject.agent.status.data.size_bytes
    assert size is not None
    same = with_data(subject, DataState.LAID_OUT, used_bytes=size // 10 + 4096)
    assert writes(same, plan_instance(same)) == []
    full = with_data(subject, DataState.LAID_OUT, used_bytes=size * 93 // 100)
    plan = plan_instance(full)
    assert plan.status is not None
    assert plan.status["volume"]["usedPercent"] == 92
    assert conditions(plan)["VolumeHealthy"] == ("False", "VolumeNearlyFull")
    assert conditions(plan)["Ready"] == ("True", "Ready")


def test_a_pod_without_a_volume_that_ever_was_gets_one() -> None:
    subject = world()
    begun = advance(subject, plan_instance(subject))
    assert makes_volume(plan_instance(replace(begun, volume=None)))


def test_an_engine_that_waits_for_lost_data_is_not_called_starting() -> None:
    subject = with_data(ready_world(), DataState.LOST)
    assert subject.agent is not None
    engine = subject.agent.status.engine.model_copy(update={"state": EngineState.WAITING})
    status = subject.agent.status.model_copy(update={"engine": engine})
    plan = plan_instance(replace(subject, agent=replace(subject.agent, status=status)))
    assert_error(plan, "VolumeLost")


def test_data_laid_out_a_moment_before_the_claim_is_deleted_are_known_of() -> None:
    subject = ready_world()
    content = subject.instance.status.model_dump(by_alias=True, mode="json", exclude_none=True)
    content |= {"phase": "Building"}
    del content["dataId"]
    assert subject.volume is not None
    volume = replace(subject.volume, deleting=True, data_id=None)
    going = replace(with_status(subject, content), volume=volume)
    plan = plan_instance(going)
    assert plan.status is not None
    assert plan.status["dataId"] == "data-1"
    gone = replace(advance(going, plan), volume=None, pod=None, agent=None, children={})
    assert_error(plan_instance(gone), "VolumeLost")
