"""kopf as a source of events: the one module that knows it.

kopf logs in, watches our resources and stops on signals. Its handlers, timers and finalizers are
not used, and it writes nothing; an event goes to the engine as it came.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import kopf
from kopf._core.engines.peering import Identity

from coffer_common.naming import GROUP, VERSION
from coffer_operator.kube.api import INSTANCE, OPERATION, Kind

Feed = Callable[[Kind, str | None, Any], None]


class Endless:
    """Seconds between attempts of kopf's requests, without end.

    With kopf's own the process ends when the API server is away for a minute.
    """

    def __iter__(self) -> Iterator[float]:
        yield from (1, 1, 2, 3)
        while True:
            yield 5


def settings() -> kopf.OperatorSettings:
    """Kopf without its writes, without its peering, with little memory."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.queueing.idle_timeout = 0.1  # objects whose worker idles cost memory
    chosen.queueing.worker_limit = None
    chosen.watching.chunk_size = 250
    chosen.watching.initial_streaming = False
    chosen.networking.request_timeout = 30
    chosen.networking.error_backoffs = Endless()
    return chosen


#: Only peering uses it, which is off; without one kopf asks for the name of a user that a
#: container with a uid of its own need not have.
IDENTITY: Final = Identity("coffer")


async def watch(feed: Feed, stopping: Callable[[], Awaitable[None]]) -> None:
    """Feed the events of our resources until a signal comes; kopf handles signals from here on.

    `stopping` is awaited before kopf looks for tasks that are left over.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        in_cluster = kopf.login_with_service_account(**kwargs)
        return in_cluster or kopf.login_with_kubeconfig(**kwargs)

    for kind in (INSTANCE, OPERATION):

        @kopf.on.event(GROUP, VERSION, kind.plural, registry=registry)
        async def told(event: kopf.RawEvent, kind: Kind = kind, **_: Any) -> None:
            feed(kind, event["type"], event["object"])

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        await stopping()

    await kopf.operator(
        registry=registry,
        settings=settings(),
        standalone=True,
        clusterwide=True,
        identity=IDENTITY,
    )
