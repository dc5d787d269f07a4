"""Child processes at the ends of the data path: their bytes, their ends, their last words."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffer_guest.pipeline.failures import ToolFailed
from coffer_guest.pipeline.process import ChildSink, ChildSource, Ending, FileSink
from coffer_guest.pipeline.stop import Cancelled, Stop
from guest_backups import mixed_bytes, our_threads
from guest_harness import until

pytestmark = pytest.mark.guest


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


@pytest.fixture
def stop() -> Iterator[Stop]:
    with Stop() as made:
        yield made


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    until("the threads end", lambda: our_threads() == [])


def read_all(source: ChildSource, stop: Stop) -> bytes:
    found = bytearray()
    buffer = bytearray(1 << 20)
    with memoryview(buffer) as view:
        while count := source.readinto(view, stop):
            found += view[:count]
    return bytes(found)


def gone(pid: int) -> bool:
    """Ended, whether or not somebody has asked for its status."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_tool_s_output_comes_whole(tmp_path: Path, stop: Stop) -> None:
    data = mixed_bytes(5_000_000)
    (tmp_path / "data").write_bytes(data)
    source = ChildSource(["cat", str(tmp_path / "data")])
    assert read_all(source, stop) == data
    source.finish(stop)
    source.kill()


def test_a_tool_s_input_arrives_whole(tmp_path: Path, stop: Stop) -> None:
    data = mixed_bytes(5_000_000)
    text = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    sink = ChildSink([*python(text), str(tmp_path / "copy")])
    for start in range(0, len(data), 1_000_000):
        sink.write(data[start : start + 1_000_000], stop)
    sink.finish(stop)
    sink.kill()
    assert (tmp_path / "copy").read_bytes() == data


def test_a_failure_after_the_whole_stream_is_a_failure(stop: Stop) -> None:
    source = ChildSource(python("import sys; print('all'); sys.exit('it\\nhurts')"))
    assert read_all(source, stop) == b"all\n"
    with pytest.raises(ToolFailed, match="exited 1: it hurts"):
        source.finish(stop)
    source.kill()


def test_a_killed_tool_is_a_failure(stop: Stop) -> None:
    source = ChildSource(python("import os; os.kill(os.getpid(), 11)"))
    assert read_all(source, stop) == b""
    with pytest.raises(ToolFailed, match="died of signal 11"):
        source.finish(stop)
    source.kill()


def test_the_strategy_may_judge_the_last_words(stop: Stop) -> None:
    def require_ok(ending: Ending) -> None:
        ending.require_success()
        if not ending.tail.endswith("completed OK!\n"):
            raise ToolFailed(ending.program, "did not complete", ending.tail)

    for words, good in (("completed OK!", True), ("completed?", False)):
        text = (
            f"import sys; print('x' * 300_000, file=sys.stderr); print({words!r}, file=sys.stderr)"
        )
        source = ChildSource(python(text), require_ok)
        assert read_all(source, stop) == b""
        if good:
            source.finish(stop)
        else:
            with pytest.raises(ToolFailed, match="did not complete"):
                source.finish(stop)
        source.kill()


def test_a_tool_that_is_not_there(stop: Stop) -> None:
    source = ChildSource(["/no/such/tool"])
    assert read_all(source, stop) == b""
    with pytest.raises(ToolFailed, match=r"tool exited 127.*No such file"):
        source.finish(stop)
    source.kill()


def test_a_wait_for_bytes_is_cancelled_and_the_whole_group_dies(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = (
        "import os, sys, time\n"
        "child = os.fork()\n"
        "open(sys.argv[1], 'a').write(f'{os.getpid()} ')\n"
        "time.sleep(600)"
    )
    with Stop() as stop:
        source = ChildSource([*python(text), str(pids)])
        until("both run", lambda: pids.exists() and len(pids.read_text().split()) == 2)
        stop.set()
        with pytest.raises(Cancelled):
            read_all(source, stop)
        source.kill()
    found = [int(pid) for pid in pids.read_text().split()]
    until("both are gone", lambda: all(gone(pid) for pid in found))


def test_a_tool_that_ignores_sigterm_dies_too(stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coffer_guest.pipeline.process._TERMINATE_S", 0.2)
    text = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); "
    source = ChildSource(python(text + "time.sleep(600)"))
    with memoryview(bytearray(10)) as view:
        assert source.readinto(view, stop)  # it ignores the signal from here on
    source.kill()
    assert source._process.returncode == -signal.SIGKILL
    source.kill()


def test_a_sink_that_stops_reading_tells_its_own_reason(stop: Stop) -> None:
    sink = ChildSink(python("import sys; sys.stdin.buffer.read(10); sys.exit('no room')"))
    with pytest.raises(ToolFailed, match="exited 1: no room"):
        sink.write(bytes(100 << 20), stop)
    sink.kill()


def test_a_sink_that_ends_early_without_a_word_has_failed(stop: Stop) -> None:
    sink = ChildSink(python("import sys; sys.stdin.buffer.read(10)"))
    with pytest.raises(ToolFailed, match="stopped reading"):
        sink.write(bytes(100 << 20), stop)
    sink.kill()


def test_a_write_that_waits_is_cancelled() -> None:
    with Stop() as stop:
        sink = ChildSink(python("import time; time.sleep(600)"))
        stop.set()
        with pytest.raises(Cancelled):
            sink.write(bytes(4 << 20), stop)
        sink.kill()


def test_no_secret_of_the_environment_is_in_a_message(stop: Stop) -> None:
    source = ChildSource(python("import sys; sys.exit(3)"), environment={"PASSWORD": "hush"})
    assert read_all(source, stop) == b""
    with pytest.raises(ToolFailed) as caught:
        source.finish(stop)
    assert "hush" not in str(caught.value)
    source.kill()


def test_a_file_is_whole_or_not_there(tmp_path: Path, stop: Stop) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for path, finish in ((good, True), (bad, False)):
        sink = FileSink(path)
        sink.write(b"content", stop)
        if finish:
            sink.finish(stop)
        sink.kill()
    assert good.read_bytes() == b"content"
    assert not bad.exists()
    with pytest.raises(FileExistsError):
        FileSink(good)
    assert os.stat(good).st_mode & 0o777 == 0o640
