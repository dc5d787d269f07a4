"""What Redis says of the rules: CONFIG GET, and CONFIG SET of values and limits as trials.

A parameter that is set live is tried with its values, its limits and its default, which is how the
agent takes a value back; one that is not must be refused. Nothing is tried that would make the
server refuse its examiner.
"""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import hiredis

from coffer_common.parameter import NUMBERS, Parameter, ParameterType, shortened
from coffer_common.wire import Value
from coffer_guest.engines.base import executable
from coffer_guest.engines.examination import Examination, served

_TIMEOUT_S: Final = 30.0
_READ_BYTES: Final = 64 * 1024
#: In a configuration file only; CONFIG GET does not know them.
_DIRECTIVES: Final = frozenset({"include", "loadmodule", "rename-command", "user"})
#: Set live by Redis, at a restart by Coffer: what follows the port follows a restart.
_STATIC_WITH_US: Final = frozenset({"port"})
#: Limits that are not tried: descriptors for so many clients need not be there.
_UNTRIED: Final = frozenset({"maxclients"})
_NOT_LIVE: Final = ("immutable config", "protected config")


def examine(rules: Mapping[str, Parameter], home: Path) -> Examination:
    """Starts a server without configuration in the empty directory `home` and asks it.

    Raises Permanent where it does not start.
    """
    path = home / "redis.sock"
    argv = (
        executable("redis-server"),
        *("--port", "0"),
        *("--unixsocket", str(path)),
        *("--dir", str(home)),
    )
    with served(argv, home, path), _Client(path) as client:
        return _Examiner(rules, client).run()


class _Client:
    """A connection. It closes with its block."""

    def __init__(self, path: Path) -> None:
        self._parser = hiredis.Reader(encoding="utf-8", errors="replace")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.connect(str(path))

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, *words: str) -> object:
        """The answer. Raises hiredis.ReplyError, OSError."""
        self._socket.sendall(hiredis.pack_command(words))  # type: ignore[arg-type] # its stub names a tuple of one
        while (answer := self._parser.gets()) is False:
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._parser.feed(data)
        if isinstance(answer, hiredis.ReplyError):
            raise answer
        return answer

    def values(self) -> dict[str, str]:
        """All parameters, as the server spells them."""
        words = self.ask("CONFIG", "GET", "*")
        assert isinstance(words, list)  # noqa: S101 - the protocol's word
        return dict(zip(map(str, words[::2]), map(str, words[1::2]), strict=True))

    def version(self) -> str:
        lines = str(self.ask("INFO", "server")).splitlines()
        pairs = (line.partition(":") for line in lines)
        return next((value for name, _, value in pairs if name == "redis_version"), "")


class _Examiner:
    def __init__(self, rules: Mapping[str, Parameter], client: _Client) -> None:
        self._rules = rules
        self._client = client
        self._values = client.values()
        self._result = Examination(engine=client.version())

    def run(self) -> Examination:
        for rule in self._rules.values():
            self._result.examined += 1
            if rule.name not in self._values:
                if not (rule.read_only and rule.name in _DIRECTIVES):
                    self._result.add(rule.name, "the engine has no such parameter")
            elif not rule.read_only:
                self._examine(rule, self._values[rule.name])
        self._result.without_rule = sorted(set(self._values) - set(self._rules))
        return self._result

    def _examine(self, rule: Parameter, value: str) -> None:
        if _of_type(rule, value):
            if rule.type in NUMBERS and (rule.min is None or rule.max is None):
                self._result.add(rule.name, "the rule has no limits")
            if rule.default is not None and rule.normal(value) != rule.default:
                self._result.add(rule.name, f"the engine's default is {value!r}")
        else:
            self._result.add(rule.name, f"the engine's value {value!r} is not of type {rule.type}")
        if rule.name in _STATIC_WITH_US:
            return
        if rule.restart_required:
            self._refused_live(rule, value)
        else:
            self._taken_live(rule, value)

    def _refused_live(self, rule: Parameter, value: str) -> None:
        try:
            self._client.ask("CONFIG", "SET", rule.name, value)
        except hiredis.ReplyError as error:
            if not any(text in str(error) for text in _NOT_LIVE):
                self._result.add(rule.name, shortened(f"a trial says {error}"))
        else:
            self._result.add(rule.name, "the engine takes it live")

    def _taken_live(self, rule: Parameter, before: str) -> None:
        for value in (*_trials(rule), rule.default):
            if value is not None and self._sets(rule, spelled(value)):
                found = self._client.values()[rule.name]
                if rule.normal(found) != value:
                    self._result.add(rule.name, f"set to {value!r} it is {found!r}")
        self._sets(rule, before)

    def _sets(self, rule: Parameter, value: str) -> bool:
        try:
            self._client.ask("CONFIG", "SET", rule.name, value)
        except hiredis.ReplyError as error:
            self._result.add(rule.name, shortened(f"the engine refuses {value!r}: {error}"))
            return False
        return True


def spelled(value: Value) -> str:
    """A value in its normal form as CONFIG SET takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _of_type(rule: Parameter, value: str) -> bool:
    if rule.type is ParameterType.BOOLEAN:
        return value in ("yes", "no")
    return rule.normal(value) is not None


def _trials(rule: Parameter) -> list[Value]:
    """Values that the engine must take."""
    if rule.type is ParameterType.ENUM:
        return list(rule.allowed)
    if rule.type is ParameterType.BOOLEAN:
        return [True, False]
    if rule.name in _UNTRIED:
        return []
    return [limit for limit in (rule.min, rule.max) if limit is not None]
