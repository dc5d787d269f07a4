"""The agent's pure parts: what a volume is to us, what is asked of the launcher, what is said."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import Permanent
from coffer_common.wire import (
    ConfigurationStatus,
    DataState,
    DataStatus,
    EngineAction,
    EngineState,
    EngineStatus,
    GuestStatus,
    TaskState,
    TaskStatus,
)
from coffer_guest import intent, settings
from coffer_guest.board import Board, coarse, etag_of
from coffer_guest.engine_state import Command, Probes, View, judge, steer
from coffer_guest.intent import Intent, accept, restart_done
from coffer_guest.launcher_client import LauncherClient
from coffer_guest.settings import Pod
from coffer_guest.slices import Wanted, patch
from coffer_guest.volume import Action, Expected, Marker, Seen, decide

# --- volume -------------------------------------------------------------------------------------
OURS = Marker(
    data_id="d1", datastore="mariadb", version="10.11.2", complete=True, identity={"server_id": "7"}
)
HALF = OURS.model_copy(update={"complete": False})
NEW = Expected(None, "mariadb", "10.11")
KNOWN = Expected("d1", "mariadb", "10.11")


@pytest.mark.parametrize(
    ("seen", "expected", "action", "state"),
    [
        (Seen(None), NEW, Action.LAY_OUT, DataState.LAID_OUT),
        (Seen(None), KNOWN, Action.REFUSE, DataState.LOST),
        (Seen(None, data=True), NEW, Action.REFUSE, DataState.FOREIGN),
        (Seen(None, data=True), KNOWN, Action.REFUSE, DataState.FOREIGN),
        (Seen(None, others=("ibdata1",)), NEW, Action.REFUSE, DataState.FOREIGN),
        (Seen(None, unreadable="1 errors"), NEW, Action.REFUSE, DataState.FOREIGN),
        (Seen(HALF), NEW, Action.LAY_OUT, DataState.LAID_OUT),
        (Seen(HALF, data=True), NEW, Action.LAY_OUT, DataState.LAID_OUT),
        (Seen(HALF, data=True), KNOWN, Action.REFUSE, DataState.LOST),
        (Seen(OURS, data=True), NEW, Action.USE, DataState.LAID_OUT),
        (Seen(OURS, data=True), KNOWN, Action.USE, DataState.LAID_OUT),
        (Seen(OURS), KNOWN, Action.REFUSE, DataState.LOST),
        (Seen(OURS), NEW, Action.REFUSE, DataState.LOST),
        (
            Seen(OURS, data=True),
            dataclasses.replace(KNOWN, data_id="d2"),
            Action.REFUSE,
            DataState.FOREIGN,
        ),
        (
            Seen(OURS, data=True),
            dataclasses.replace(NEW, datastore="redis"),
            Action.REFUSE,
            DataState.FOREIGN,
        ),
        (
            Seen(OURS, data=True),
            dataclasses.replace(NEW, major="11.8"),
            Action.REFUSE,
            DataState.FOREIGN,
        ),
    ],
)
def test_what_a_volume_is_to_us(
    seen: Seen, expected: Expected, action: Action, state: DataState
) -> None:
    verdict = decide(seen, expected, "10.11" if seen.marker else None)
    assert (verdict.action, verdict.state) == (action, state)
    assert bool(verdict.message) == (action is Action.REFUSE)


@given(
    st.builds(
        Seen,
        st.sampled_from([None, OURS, HALF]),
        st.none() | st.just("why"),
        st.booleans(),
        st.sampled_from([(), ("x",)]),
    )
)
def test_nothing_is_laid_out_where_data_are_expected(seen: Seen) -> None:
    assert decide(seen, KNOWN, "10.11").action is not Action.LAY_OUT


# --- intent and launcher ------------------------------------------------------------------------
def view(state: str = "running", **facts: object) -> View:
    given: dict[str, object] = {
        "boot_id": "b",
        "revision": 1,
        "locked": True,
        "state": state,
        "generation": 1,
        "cause": "start",
        "pid": 7 if state in ("running", "stopping") else None,
        "started_at": None,
        "restarts": 0,
        "last_exit": None,
        "restarted_for": None,
        "restarting_for": None,
        "answered": False,
        "terminating": False,
        **facts,
    }
    return View.model_validate(given)


STOPPED = Intent(running=False)
RESTARTING = Intent(restart="a")


@pytest.mark.parametrize(
    ("wanted", "seen", "command"),
    [
        (Intent(), view("waiting"), Command.START),
        (Intent(), view("stopped"), Command.START),
        (Intent(), view("running"), None),
        (Intent(), view("stopping"), None),
        (Intent(), view("crash_loop"), None),
        (Intent(), view("waiting", locked=False), None),
        (Intent(), view("waiting", terminating=True), None),
        (STOPPED, view("running"), Command.STOP),
        (STOPPED, view("waiting"), None),
        (STOPPED, view("stopping"), None),
        (RESTARTING, view("running"), Command.RESTART),
        (RESTARTING, view("waiting"), Command.RESTART),
        (RESTARTING, view("stopping", restarting_for="a"), None),
        (RESTARTING, view("stopping", restarting_for="z"), Command.RESTART),
        (RESTARTING, view("running", restarted_for="a"), Command.NOTE_RESTART),
        (RESTARTING, view("running", restarted_for="z"), Command.RESTART),
    ],
)
def test_what_is_asked_of_the_launcher(wanted: Intent, seen: View, command: Command) -> None:
    assert steer(wanted, seen) is command


def test_a_request_is_accepted_once() -> None:
    once = accept(Intent(), EngineAction.RESTART, "a")
    assert once.restart == "a"
    done = restart_done(once)
    assert (done.restart, done.restarted_for) == (None, "a")
    assert accept(done, EngineAction.RESTART, "a") is done
    stopped = accept(done, EngineAction.STOP, "b")
    assert not stopped.running
    assert accept(stopped, EngineAction.RESTART, "a") is stopped
    assert accept(stopped, EngineAction.START, "c").running
    assert accept(stopped, EngineAction.RESET, "d") is stopped


def test_a_stop_takes_back_a_restart() -> None:
    wanted = accept(accept(Intent(), EngineAction.RESTART, "a"), EngineAction.STOP, "b")
    assert (wanted.running, wanted.restart) == (False, None)


def test_tokens_are_remembered_but_not_for_ever() -> None:
    wanted = Intent()
    for number in range(100):
        wanted = accept(wanted, EngineAction.START, str(number))
    assert wanted.tokens[-1] == "99"
    assert len(wanted.tokens) < 50


def test_intent_is_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    assert intent.read(path) == Intent()
    intent.write(path, RESTARTING)
    assert intent.read(path) == RESTARTING
    path.write_text("{")
    assert intent.read(path) == Intent()


def test_an_older_word_of_the_launcher_does_not_replace_a_newer_one() -> None:
    changes: list[None] = []
    client = LauncherClient(Path("/nowhere"), lambda: changes.append(None))
    client.take(view("running", revision=5).model_dump())
    client.take(view("waiting", revision=4).model_dump())
    client.take(view("waiting", revision=5).model_dump())
    assert client.view is not None
    assert client.view.state == "running"
    assert len(changes) == 1
    client.take(view("waiting", revision=1, boot_id="another").model_dump())
    assert client.view.state == "waiting"
    assert len(changes) == 2


# --- the engine's state -------------------------------------------------------------------------
ANSWERED = Probes(answered=True)


@pytest.mark.parametrize(
    ("seen", "last", "probes", "state"),
    [
        (None, None, Probes(), EngineState.UNKNOWN),
        (None, view("running"), ANSWERED, EngineState.UNKNOWN),
        (None, view("crash_loop"), Probes(), EngineState.CRASH_LOOP),
        (None, view("stopped", terminating=True), Probes(), EngineState.STOPPED),
        (view("waiting"), None, Probes(), EngineState.WAITING),
        (view("waiting", locked=False), None, Probes(), EngineState.WAITING),
        (view("stopped"), None, Probes(), EngineState.STOPPED),
        (view("stopping"), None, ANSWERED, EngineState.STOPPED),
        (view("stopping", restarting_for="a"), None, ANSWERED, EngineState.STARTING),
        (view("crash_loop"), None, Probes(), EngineState.CRASH_LOOP),
        (view("running"), None, Probes(), EngineState.STARTING),
        (view("running"), None, Probes(failures=9, error="x"), EngineState.STARTING),
        (view("running", cause="crash"), None, Probes(), EngineState.CRASHED),
        (view("running", cause="crash"), None, ANSWERED, EngineState.RUNNING),
        (view("running"), None, ANSWERED, EngineState.RUNNING),
        (view("running"), None, Probes(answered=True, failures=1), EngineState.RUNNING),
        (view("running"), None, Probes(answered=True, failures=2), EngineState.UNRESPONSIVE),
        # an agent that has just come knows from the launcher that the process has answered
        (view("running", answered=True), None, Probes(), EngineState.UNKNOWN),
        (view("running", answered=True), None, Probes(failures=1), EngineState.UNRESPONSIVE),
    ],
)
def test_the_state_of_the_engine(
    seen: View | None, last: View | None, probes: Probes, state: EngineState
) -> None:
    assert judge(seen, last, probes)[0] is state


# --- status -------------------------------------------------------------------------------------
def status(**parts: object) -> GuestStatus:
    base = GuestStatus(
        etag="",
        agent_version="1",
        boot_id="b",
        instance_uid="i",
        pod_uid="p",
        data=DataStatus(state=DataState.LAID_OUT, size_bytes=1000, used_bytes=100),
        engine=EngineStatus(state=EngineState.RUNNING),
    )
    return base.model_copy(update=parts)


def task(**facts: object) -> TaskStatus:
    base = TaskStatus(id="t", kind="k", state=TaskState.RUNNING, started_at="now")
    return base.model_copy(update=facts)


def test_etag_leaves_out_itself_and_progress_below_a_percent() -> None:
    assert etag_of(status()) == etag_of(status(etag="x"))
    half = status(tasks=(task(bytes_done=500, bytes_total=1000),))
    assert etag_of(half) == etag_of(status(tasks=(task(bytes_done=509, bytes_total=1000),)))
    assert etag_of(half) != etag_of(status(tasks=(task(bytes_done=510, bytes_total=1000),)))
    assert etag_of(status(tasks=(task(bytes_done=1),))) == etag_of(status(tasks=(task(),)))


@pytest.mark.parametrize(
    "parts",
    [
        {"boot_id": "c"},
        {"engine": EngineStatus(state=EngineState.RUNNING, restarts=1)},
        {"data": DataStatus(state=DataState.LOST)},
        {"databases": ()},
        {"configuration": ConfigurationStatus(live="h")},
        {"tasks": (task(),)},
    ],
)
def test_etag_changes_with_whatever_counts(parts: dict[str, object]) -> None:
    assert etag_of(status(**parts)) != etag_of(status())


@given(st.integers(0, 10**15), st.integers(1, 10**15))
def test_volume_use_is_in_steps_of_a_percent(used: int, size: int) -> None:
    used = min(used, size)
    shown = coarse(used, size)
    assert 0 <= used - shown <= size // 100 + 1
    assert shown * 100 // size == used * 100 // size
    assert len({coarse(use * size // 300, size) for use in range(301)}) <= 101


@given(st.integers(1, 10**15), st.data())
def test_volume_use_that_goes_up_and_down_a_little_is_told_once(
    size: int, data: st.DataObject
) -> None:
    most = data.draw(st.integers(0, size))
    shown = coarse(most, size)
    least = data.draw(st.integers(max(0, shown - size // 100), shown))
    assert coarse(least, size, shown) == shown
    assert coarse(most, size, shown) == shown
    if shown - size // 100 > 0:
        assert coarse(shown - size // 100 - 1, size, shown) < shown


async def test_board_wakes_those_who_wait_only_for_changes() -> None:
    board = Board("1", "b", "p")
    first = board.status
    assert await board.wait(None, 0.0) is first
    assert await board.wait("other", 60.0) is first
    board.publish(tasks=())
    assert board.status is first
    board.publish(databases=("a",))
    assert (await board.wait(first.etag, 60.0)).databases == ("a",)
    assert (await board.wait(board.status.etag, 0.0)).databases == ("a",)
    board.close()
    assert (await board.wait(board.status.etag, 60.0)).databases == ("a",)


# --- the slice ----------------------------------------------------------------------------------
POD = Pod(name="one-0", uid="u1", ip="10.0.0.7", node="n1")
SERVING = Wanted("ns", "one-rw", 3306)
LEAVING = Wanted("ns", "one-rw", None)


def found(**parts: object) -> dict[str, object]:
    return {"metadata": {"resourceVersion": "5"}, "addressType": "IPv4", **parts}


def applied(change: object) -> dict[str, object]:
    assert isinstance(change, dict)
    metadata = {**change["metadata"], "resourceVersion": "6"}
    return found(**{**change, "metadata": metadata})


def test_slice_gets_our_address_once() -> None:
    change = patch(found(endpoints=None), SERVING, POD, 0)
    assert change is not None
    assert change["metadata"] == {
        "resourceVersion": "5",
        "annotations": {"coffer.dev/epoch": "0"},
    }
    endpoint = change["endpoints"][0]
    assert endpoint["addresses"] == ["10.0.0.7"]
    assert endpoint["nodeName"] == "n1"
    assert endpoint["targetRef"]["uid"] == "u1"
    assert change["ports"][0]["port"] == 3306
    assert patch(applied(change), SERVING, POD, 0) is None


def test_slice_of_another_pod_is_taken_over_but_never_emptied() -> None:
    other = applied(patch(found(), SERVING, Pod("one-0", "u0", "10.0.0.6", "n0"), 0))
    assert patch(other, SERVING, POD, 0) is not None
    assert patch(other, LEAVING, POD, 0) is None


def test_slice_is_emptied_of_us() -> None:
    ours = applied(patch(found(), SERVING, POD, 0))
    change = patch(ours, LEAVING, POD, 0)
    assert change is not None
    assert change["endpoints"] == []
    assert patch(applied(change), LEAVING, POD, 0) is None


@pytest.mark.parametrize("wanted", [SERVING, LEAVING])
def test_slice_of_a_higher_epoch_is_left_alone(wanted: Wanted) -> None:
    ours = applied(patch(found(), SERVING, POD, 3))
    with pytest.raises(Permanent, match="epoch 3"):
        patch(ours, wanted, POD, 2)


# --- settings -----------------------------------------------------------------------------------
def test_settings_come_from_arguments_and_the_downward_api() -> None:
    given = settings.parse(
        ["--volume", "/v", "--agent-port", "1"],
        {
            "POD_UID": "u",
            "POD_IP": "10.0.0.7",
            "KUBERNETES_SERVICE_HOST": "fd00::1",
            "KUBERNETES_SERVICE_PORT": "443",
        },
    )
    assert given.paths.volume == Path("/v")
    assert given.paths.data == Path("/v/data")
    assert given.agent_port == 1
    assert given.pod.uid == "u"
    assert given.api_server == "https://[fd00::1]:443"
    assert settings.parse([], {}).api_server is None
