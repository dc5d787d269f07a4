"""The bounded log and the engine's output."""

import os
from pathlib import Path

from coffer_guest.launcher_output import Log, Output


def test_log_is_bounded_to_two_files(tmp_path: Path) -> None:
    path = tmp_path / "log" / "engine.log"
    log = Log(str(path), limit_bytes=100)
    for number in range(100):
        log.write(f"{number:09}\n".encode())
    log.close()
    assert path.read_text().endswith("000000099\n")
    assert path.stat().st_size <= 100
    assert path.with_name("engine.log.1").stat().st_size <= 100
    assert len(list(path.parent.iterdir())) == 2
    again = Log(str(path), limit_bytes=100)
    again.write(b"more\n")
    again.close()
    assert path.read_text().endswith("000000099\nmore\n") or path.read_text() == "more\n"


def test_log_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way")
    log = Log(str(tmp_path / "log" / "engine.log"))
    log.write(b"lost")
    (tmp_path / "log").unlink()
    log.write(b"kept")
    log.close()
    assert (tmp_path / "log" / "engine.log").read_bytes() == b"kept"


def test_output_goes_on_and_is_never_waited_for(tmp_path: Path) -> None:
    reader, target = os.pipe()
    log = Log(str(tmp_path / "engine.log"))
    output = Output(log, target)
    ours, its = output.pipe()
    try:
        os.write(its, b"first\n")
        assert output.move(ours)
        assert os.read(reader, 100) == b"first\n"
        assert output.move(ours), "nothing there now"
        # nobody reads: what does not fit is dropped, the log has it all
        for _ in range(4):
            os.write(its, b"x" * 65536)
            assert output.move(ours)
        assert output.dropped_bytes > 0
        assert (tmp_path / "engine.log").stat().st_size == 6 + 4 * 65536
        os.close(its)
        its = -1
        assert not output.move(ours)
    finally:
        log.close()
        for descriptor in (reader, target, ours, its):
            if descriptor >= 0:
                os.close(descriptor)
