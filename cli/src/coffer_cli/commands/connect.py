"""kubectl coffer connect: the engine's own client, in the instance's pod, as one of its users.

The credentials go from the binding Secret to the pod over standard input, in an exec without a
terminal (`coffer_guest.connect put`); a second exec, with the user's terminal if there is one,
runs the client with them. kubectl does both, so that terminals work as in `kubectl exec`.
"""

import base64
import binascii
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import click

from coffer_cli.api import DATASTORE_VERSION, INSTANCE, SECRET, Api, Object
from coffer_cli.app import App, cluster_options, complete_instances, pass_app
from coffer_cli.errors import ApiError, CliError, Exit
from coffer_cli.judge import instance as judge_instance
from coffer_cli.pod import exec_command, run
from coffer_common import naming

_HELPER: Final = ("python3", "-m", "coffer_guest.connect")


@click.command()
@click.argument("name", shell_complete=complete_instances)
@click.option("--user", metavar="USER[@HOST]", help="As whom; the first user if not given.")
@click.option("--database", help="Database to use; the user's first one if not given.")
@click.argument("arguments", nargs=-1, metavar="[-- CLIENT ARGUMENTS]")
@cluster_options
@pass_app
def connect(
    app: App, *, name: str, user: str | None, database: str | None, arguments: tuple[str, ...]
) -> None:
    """Open the engine's own client as one of the instance's users.

    What follows -- goes to the client: kubectl coffer connect shop -- -e 'SELECT 1'. The exit code
    is then the client's.
    """
    execute = exec_command(app, name, "connect")
    obj = app.api.get(INSTANCE, app.here, name)
    binding = choose_binding(obj, user)
    secret = app.api.get(SECRET, app.here, binding["name"])
    credentials = credentials_of(secret, obj, database) | {"manager": manager(app.api, obj, secret)}
    inside = ["-c", naming.DATABASE_CONTAINER, "--", *_HELPER]
    put = [*execute, "-i", *inside, "put"]
    word = run(put, "run a client in the pod", json.dumps(credentials))
    terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    _become([*execute, "-i", *terminal, "-q", *inside, "run", word, *arguments])


def choose_binding(obj: Object, user: str | None) -> Mapping[str, Any]:
    """The entry of status.bindingSecrets for `user` (NAME or NAME@HOST), or the first one."""
    name = obj["metadata"]["name"]
    bindings: list[Mapping[str, Any]] = (obj.get("status") or {}).get("bindingSecrets") or []
    known = ", ".join(f"{entry['user']}@{entry['host']}" for entry in bindings)
    if not bindings:
        if obj["spec"].get("users"):
            raise CliError(f"{name} has no credentials yet ({judge_instance(obj).line})")
        raise CliError(f"{name} has no users: name one in spec.users", Exit.USAGE)
    for entry in bindings:
        if user in (None, entry["user"], f"{entry['user']}@{entry['host']}"):
            return entry
    raise CliError(f"{name} has no user {user} (it has: {known})", Exit.NOT_FOUND)


def credentials_of(secret: Object, obj: Object, database: str | None) -> dict[str, Any]:
    """What the client needs of a binding Secret. Raises CliError where it is not one."""
    try:
        data = {
            key: base64.b64decode(value, validate=True).decode()
            for key, value in (secret.get("data") or {}).items()
        }
        found: dict[str, Any] = {
            "username": data["username"],
            "password": data["password"],
            "port": int(data["port"]),
            "database": database or data.get("database") or None,
        }
    except (KeyError, ValueError, binascii.Error):
        name = secret["metadata"]["name"]
        raise CliError(f"secret/{name} does not hold the credentials of a user") from None
    return found


def manager(api: Api, obj: Object, secret: Object) -> str:
    """The engine plugin; where the catalogue may not be read, the datastore's name will do."""
    resolved = (obj.get("status") or {}).get("datastore") or {}
    datastore = str(resolved.get("type") or obj["spec"]["datastore"]["type"])
    if not resolved.get("name"):
        return datastore
    try:
        found = api.get(DATASTORE_VERSION, None, resolved["name"])
    except ApiError as error:
        if error.code in (Exit.NOT_FOUND, Exit.REFUSED):
            return datastore
        raise
    return str(found["spec"].get("manager") or datastore)


def _become(command: list[str]) -> NoReturn:
    """Run it with our terminal; Ctrl-C is its business."""
    child = subprocess.Popen(command)
    while True:
        try:
            sys.exit(child.wait())
        except KeyboardInterrupt:
            continue
