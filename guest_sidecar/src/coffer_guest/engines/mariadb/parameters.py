"""What MariaDB says of the rules: information_schema.SYSTEM_VARIABLES, its options, and trials.

A variable that is set live is tried with its values and with DEFAULT, which is how the agent takes
a value back; one that is not must be refused. Nothing is tried that would take much memory.
"""

import re
import subprocess
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from coffer_common.errors import Permanent
from coffer_common.parameter import NUMBERS, Parameter, ParameterType, shortened
from coffer_common.wire import Value
from coffer_guest.engines.base import executable
from coffer_guest.engines.examination import Examination, served
from coffer_guest.engines.mariadb import MariaDB
from coffer_guest.engines.mariadb.driver import Connection, pymysql

_ACCOUNT: Final = "examiner"
_INIT: Final = (
    f"CREATE USER {_ACCOUNT}@localhost IDENTIFIED BY '';\n"
    f"GRANT ALL PRIVILEGES ON *.* TO {_ACCOUNT}@localhost WITH GRANT OPTION;\n"
)
_HELP_TIMEOUT_S: Final = 60
_DEPRECATED: Final = 1287  # ER_WARN_DEPRECATED_SYNTAX
_NOT_LIVE: Final = (1238, 1290)  # ER_INCORRECT_GLOBAL_LOCAL_VAR, ER_OPTION_PREVENTS_STATEMENT
_INTEGERS: Final = NUMBERS - {ParameterType.FLOAT}
_TYPES: Final[Mapping[str, frozenset[ParameterType]]] = {
    "BOOLEAN": frozenset({ParameterType.BOOLEAN}),
    "ENUM": frozenset({ParameterType.ENUM, ParameterType.STRING}),
    "SET": frozenset({ParameterType.STRING}),
    "FLAGSET": frozenset({ParameterType.STRING}),
    "VARCHAR": frozenset({ParameterType.STRING, ParameterType.ENUM}),
    "DOUBLE": frozenset({ParameterType.FLOAT}),
    "INT": _INTEGERS,
    "INT UNSIGNED": _INTEGERS,
    "BIGINT": _INTEGERS,
    "BIGINT UNSIGNED": _INTEGERS,
}
#: Set live only in a server that was started with another value than 0, which is the default.
_STATIC_BY_DEFAULT: Final = frozenset({"max_user_connections"})

Row = dict[str, Any]


def examine(rules: Mapping[str, Parameter], home: Path) -> Examination:
    """Starts a server without configuration in the empty directory `home` and asks it.

    Raises Permanent where it does not start.
    """
    MariaDB.initialise(home / "data")
    (home / "init.sql").write_text(_INIT)
    path = home / "mariadb.sock"
    program = executable("mariadbd")
    argv = (
        program,
        "--no-defaults",
        f"--datadir={home}/data",
        f"--tmpdir={home}",
        f"--socket={path}",
        f"--init-file={home}/init.sql",
        f"--pid-file={home}/pid",
        "--skip-networking",
    )
    with served(argv, home, path):
        connection = pymysql.connect(unix_socket=str(path), user=_ACCOUNT, autocommit=True)
        with connection:
            return _Examiner(rules, connection, options(program)).run()


def options(program: str) -> frozenset[str]:
    """The names that an option file may hold, with _."""
    done = subprocess.run(  # noqa: S603 - an argv list without user input
        (program, "--no-defaults", "--help", "--verbose"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=_HELP_TIMEOUT_S,
        check=False,
    )
    found = re.findall(r"^ +(?:-\S, |-\S )?\s*--([a-z][\w-]*)", done.stdout, re.M | re.I)
    if not found:
        raise Permanent("mariadbd --help names no option")
    return frozenset(name.replace("-", "_").lower() for name in found)


class _Examiner:
    def __init__(
        self, rules: Mapping[str, Parameter], connection: Connection, known: frozenset[str]
    ) -> None:
        self._rules = rules
        self._connection = connection
        self._options = known
        self._result = Examination(engine=str(self._one("SELECT VERSION()")))
        rows = self._ask("SELECT * FROM information_schema.SYSTEM_VARIABLES")
        self._variables = {str(row["VARIABLE_NAME"]).lower(): row for row in rows}

    def run(self) -> Examination:
        for rule in self._rules.values():
            self._result.examined += 1
            row = self._variables.get(rule.name)
            if rule.read_only:
                if row is None and rule.name not in self._options:
                    self._result.add(rule.name, "the engine has no such variable and no option")
            elif row is None:
                self._result.add(rule.name, "the engine has no such variable")
            else:
                self._examine(rule, row)
        self._result.without_rule = sorted(
            name
            for name, row in self._variables.items()
            if name not in self._rules and row["VARIABLE_SCOPE"] != "SESSION ONLY"
        )
        return self._result

    def _examine(self, rule: Parameter, row: Row) -> None:
        option = rule.option or rule.name
        if option not in self._options:
            self._result.add(rule.name, f"{option} is no option that a file may hold")
        if rule.type not in _TYPES.get(row["VARIABLE_TYPE"], frozenset()):
            self._result.add(rule.name, f"the engine's type is {row['VARIABLE_TYPE']}")
            return
        self._limits(rule, row)
        self._default(rule, row)
        static = row["READ_ONLY"] == "YES" or rule.name in _STATIC_BY_DEFAULT
        if rule.restart_required:
            self._refused_live(rule)
        elif static:
            self._result.add(rule.name, "the engine takes it only at its start")
        else:
            self._taken_live(rule)

    def _limits(self, rule: Parameter, row: Row) -> None:
        low, high = row["NUMERIC_MIN_VALUE"], row["NUMERIC_MAX_VALUE"]
        if rule.type in NUMBERS and (rule.min is None or rule.max is None):
            self._result.add(rule.name, f"the limits {low} and {high} are not in the rule")
        if rule.min is not None and Decimal(str(rule.min)) < Decimal(low):
            self._result.add(rule.name, f"the engine's smallest value is {low}")
        if rule.max is not None and Decimal(str(rule.max)) > Decimal(high):
            self._result.add(rule.name, f"the engine's largest value is {high}")
        if rule.type is ParameterType.ENUM and row["ENUM_VALUE_LIST"]:
            unknown = set(rule.allowed) - set(row["ENUM_VALUE_LIST"].split(","))
            if unknown:
                self._result.add(rule.name, f"the engine has no {', '.join(sorted(unknown))}")

    def _default(self, rule: Parameter, row: Row) -> None:
        if rule.default is None:
            return
        if row["GLOBAL_VALUE_ORIGIN"] == "AUTO":
            self._result.add(rule.name, "the engine computes its default")
        elif rule.normal(row["DEFAULT_VALUE"]) != rule.default:
            self._result.add(rule.name, f"the engine's default is {row['DEFAULT_VALUE']!r}")

    def _refused_live(self, rule: Parameter) -> None:
        try:
            self._set(rule.name, self._value(rule.name))
        except pymysql.err.MySQLError as error:
            if error.args[0] not in _NOT_LIVE:
                self._result.add(rule.name, shortened(f"a trial says {error.args[1]}"))
        else:
            self._result.add(rule.name, "the engine takes it live")

    def _taken_live(self, rule: Parameter) -> None:
        before = self._value(rule.name)
        for value in (*_trials(rule), before):
            self._try(rule, value)
        if rule.default is not None:
            self._try(rule, None)
            after = self._value(rule.name)
            if rule.normal(after) != rule.default:
                self._result.add(rule.name, f"set to DEFAULT it is {after!r}")
            self._try(rule, before)

    def _try(self, rule: Parameter, value: object) -> None:
        try:
            self._set(rule.name, value)
        except pymysql.err.MySQLError as error:
            self._result.add(rule.name, shortened(f"the engine refuses {value!r}: {error.args[1]}"))
            return
        # a statement without a table leaves the warnings of an earlier one
        said = [
            row["Message"]
            for row in self._ask("SHOW WARNINGS")
            if row["Code"] == _DEPRECATED and f"@@{rule.name}'" in row["Message"]
        ]
        if said and rule.deprecated is None:
            self._result.add(rule.name, shortened(f"the engine says: {said[0]}"))

    def _set(self, name: str, value: object) -> None:
        """Set live; None is the engine's default. Names come from the engine itself."""
        if value is None:
            self._ask(f"SET GLOBAL {name} = DEFAULT")
        else:
            self._ask(f"SET GLOBAL {name} = %s", value)

    def _value(self, name: str) -> Any:
        return self._one(f"SELECT @@GLOBAL.{name} AS value")

    def _one(self, statement: str) -> Any:
        return next(iter(self._ask(statement)[0].values()))

    def _ask(self, statement: str, *values: object) -> list[Row]:
        with self._connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())


def _trials(rule: Parameter) -> list[Value]:
    """Values that the engine must take, and that cost nothing."""
    if rule.type is ParameterType.ENUM:
        return list(rule.allowed)
    if rule.type is ParameterType.BOOLEAN:
        return [True, False]
    return [] if rule.min is None or rule.type is ParameterType.SIZE else [rule.min]
