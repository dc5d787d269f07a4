"""A Redis client for the end-to-end tests."""

from e2e_kube import Space


def redis(space: Space, *command: str) -> str:
    """Output of redis-cli in the pod, through the Service, as the user of the binding Secret."""
    binding = space.secret("cache-app")
    script = (
        'read -r password; REDISCLI_AUTH="$password" exec redis-cli -h "$0" -p "$1" --user "$2"'
        ' "${@:3}"'
    )
    argv = ["bash", "-c", script, space.service_ip("cache-rw"), binding["port"]]
    argv += [binding["username"], *command]
    return space.kube.run(
        *("exec", "-i", "-n", space.name, "cache-0", "-c", "database", "--"),
        *argv,
        stdin=binding["password"] + "\n",
    ).strip()
