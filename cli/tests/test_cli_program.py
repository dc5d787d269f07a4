"""The program as a whole: help, completion, the display on a terminal, what it imports."""

import io
import sys

import pytest
from rich.console import Console

from cli_fake_api import FakeApi
from cli_objects import INSTANCES, Run, instance, stalled_status
from coffer_cli import errors, judge, main
from coffer_cli.commands import completion
from coffer_cli.judge import View
from coffer_cli.live import LiveProgress
from coffer_common.resources.instance_status import Phase
from coffer_common.resources.operation import OperationPhase


def test_help_lists_every_command_and_exit_code(run: Run) -> None:
    text = run("--help").stdout
    for name, (_, words) in main.COMMANDS.items():
        assert f"  {name} " in text
        assert words in text
    for code in errors.Exit:
        assert str(int(code)) in text.split("Exit codes:")[1].split()


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_explains_itself(run: Run, name: str) -> None:
    done = run(name, "-h")
    assert done.exit_code == 0
    assert f"Usage: kubectl coffer {name}" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # click asks bash for its version
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda *_: None)
    done = run("completion", shell)
    assert done.exit_code == 0
    assert "_KUBECTL_COFFER_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sh"], ["show\tShow one database instance: state, addresses, users, what happened…"]),
        (["show", "or"], ["orders"]),
        (["show", "x"], []),
        (["create", "x", "--deletion-policy", ""], ["Retain", "Delete"]),
    ],
)
@pytest.mark.usefixtures("run")
def test_kubectl_completes(
    api: FakeApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    expected: list[str],
) -> None:
    api.put(f"{INSTANCES}/orders", instance())
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-coffer", *words])
    completion.kubectl()
    *found, directive = capsys.readouterr().out.splitlines()
    assert directive == ":4"
    assert [line[:20] for line in found] == [line[:20] for line in expected]


@pytest.mark.usefixtures("run")
def test_completion_keeps_quiet_without_a_cluster(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.close()
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-coffer", "show", ""])
    completion.kubectl()
    assert capsys.readouterr().out == ":4\n"


def test_a_terminal_shows_phase_and_message_and_obeys_neither() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120)
    with LiveProgress("orders", console) as shown:
        shown.show(View("Building", "waits for [bold]x[/bold]"))
    text = written.getvalue()
    assert "Building" in text
    assert "waits for [bold]x[/bold]" in text


def test_nothing_in_a_message_steers_the_terminal(run: Run, api: FakeApi) -> None:
    api.put(f"{INSTANCES}/orders", instance() | {"status": stalled_status("a\x1b[2Jb\r\nc")})
    path = f"{INSTANCES}/evil"
    api.script(path, lambda: api.patch_status(path, stalled_status("a\x1b[2Jb\rc")))
    options = ("--datastore", "mariadb", "--flavor", "small", "--volume", "1Gi")
    texts = [run("show", "orders").output, run("list", "-o", "wide").output]
    texts.append(run("create", "evil", *options).output)
    assert all("a [2Jb" in text for text in texts)
    assert not any("\x1b" in text or "\r" in text for text in texts)


def test_judging_knows_every_phase_of_an_operation() -> None:
    ends = {
        phase: judge.operation({"status": {"phase": phase, "message": "m"}}).outcome
        for phase in OperationPhase
    }
    assert ends == {
        OperationPhase.NEW: judge.Outcome.PENDING,
        OperationPhase.RUNNING: judge.Outcome.PENDING,
        OperationPhase.COMPLETED: judge.Outcome.DONE,
        OperationPhase.FAILED: judge.Outcome.FAILED,
        OperationPhase.EXPIRED: judge.Outcome.FAILED,
    }


@pytest.mark.parametrize("phase", list(Phase))
def test_a_phase_alone_never_ends_waiting(phase: Phase) -> None:
    obj = {"metadata": {"generation": 1}, "status": {"phase": phase, "observedGeneration": 1}}
    assert judge.instance(obj).outcome is judge.Outcome.PENDING


@pytest.mark.guest  # starts a process
def test_starting_imports_nothing_heavy() -> None:
    import subprocess  # noqa: PLC0415

    code = (
        "import sys\n"
        "from coffer_cli.main import cli, COMMANDS\n"
        "cli.get_command(None, 'list')\n"
        "cli.get_command(None, 'config').get_command(None, 'list')\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"kubernetes", "pydantic", "rich", "aiohttp", "requests", "urllib3", "asyncio"}
    assert not heavy & set(done.stdout.split())
