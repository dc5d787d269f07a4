"""What the end-to-end tests of configuration ask of groups, instances and engines."""

from typing import Any

from e2e_kube import Kube, Object, Space, condition, query, wait_until
from e2e_manifests import instance, operation

SOCKET = "/run/coffer/mariadb.sock"


def configured(name: str = "db", ref: str = "conf", **spec: Any) -> Object:
    """A MariaDB instance attached to a group."""
    return instance(name, configurationRef={"name": ref}, **spec)


def get_group(space: Space, name: str = "conf") -> Object | None:
    return space.get("configurationgroup", name)


def report(space: Space, name: str = "db") -> Object:
    """status.configuration of an instance."""
    status = (space.instance(name) or {}).get("status", {})
    found: Object = status.get("configuration", {})
    return found


def pending(space: Space, name: str = "db") -> list[str]:
    return list(report(space, name).get("pendingRestart", []))


def states(space: Space, name: str = "conf") -> dict[str, str]:
    """State of each attached instance, as the group tells it."""
    status = (get_group(space, name) or {}).get("status", {})
    return {one["name"]: one["state"] for one in status.get("instances", [])}


def settled(space: Space, name: str = "conf") -> Object | None:
    """The group, once it is Ready for the spec as it is now."""
    found = get_group(space, name)
    if found is None or condition(found, "Ready").get("status") != "True":
        return None
    seen = found["status"].get("observedGeneration")
    return found if seen == found["metadata"]["generation"] else None


def wait_settled(space: Space, name: str = "conf", timeout_s: float = 60) -> Object:
    return wait_until(f"group {name} Ready", lambda: settled(space, name), timeout_s)


def wait_states(space: Space, wanted: dict[str, str], timeout_s: float = 60) -> None:
    wait_until(f"{wanted}", lambda: states(space) == wanted, timeout_s)


def merge_values(space: Space, values: Object, name: str = "conf") -> None:
    """A merge patch of a group's values; None takes one out."""
    space.patch("configurationgroup", name, {"spec": {"values": values}})


def replace_values(space: Space, values: Object, name: str = "conf") -> None:
    """All values anew, whatever was there."""
    change = {"op": "replace", "path": "/spec/values", "value": values}
    space.patch("configurationgroup", name, [change])


def patch_catalogue(kube: Kube, spec: Object) -> None:
    """A merge patch of the default MariaDB's entry."""
    kube.patch("datastoreversion", "mariadb-10.11", "", {"spec": spec})


def attach(space: Space, name: str, ref: str | None) -> None:
    wanted = {"configurationRef": {"name": ref} if ref else None}
    space.patch("databaseinstance", name, {"spec": wanted})


def running(space: Space, variable: str, name: str = "db") -> object:
    """A global variable of the running server, as an application's connection sees it."""
    with space.mysql(name, "app") as connection:
        return query(connection, f"SELECT @@GLOBAL.{variable}")[0][0]


def wait_running(
    space: Space, variable: str, value: object, name: str = "db", timeout_s: float = 30
) -> None:
    wait_until(
        f"{variable} = {value!r} in {name}",
        lambda: running(space, variable, name) == value,
        timeout_s,
    )


def by_hand(space: Space, statement: str, name: str = "db") -> None:
    """A statement of the administrator inside the pod."""
    space.exec(f"{name}-0", "database", "mariadb", f"--socket={SOCKET}", f"--execute={statement}")


def restart(space: Space, name: str = "db", operation_name: str = "restart") -> None:
    """A Restart operation, to its end."""
    space.apply(operation(operation_name, name, "Restart"))

    def done() -> bool:
        found = space.get("operation", operation_name)
        phase = (found or {}).get("status", {}).get("phase")
        assert phase != "Failed", found
        return bool(phase == "Completed")

    wait_until("the restart", done, 60)
