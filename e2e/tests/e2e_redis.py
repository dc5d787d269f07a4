"""A Redis client for the end-to-end tests."""

from e2e_kube import Space


def redis(space: Space, *command: str) -> str:
    """Output of redis-cli in the pod, through the Service, as the user of the binding Secret.

    It has no time limit of its own, and a connection begun before kube-proxy knows the Service
    stays on its wrong way: all its packets are one flow to the kernel.
    """
    binding = space.secret("cache-app")
    client = 'exec timeout 5 redis-cli -h "$0" -p "$1" --user "$2" "${@:3}"'
    script = f'read -r password; REDISCLI_AUTH="$password" {client}'
    argv = ["bash", "-c", script, space.service_ip("cache-rw"), binding["port"]]
    argv += [binding["username"], *command]
    return space.kube.run(
        *("exec", "-i", "-n", space.name, "cache-0", "-c", "database", "--"),
        *argv,
        stdin=binding["password"] + "\n",
    ).strip()
