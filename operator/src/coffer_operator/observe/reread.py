"""Reading a watched object anew, where the caches may be behind."""

from typing import Any

from coffer_operator.kube.api import Key, Kind, KubeApi, NotFoundError
from coffer_operator.observe.store import Store, version_of


async def reread(api: KubeApi, store: Store[Any], kind: Kind, key: Key) -> bool:
    """Read the object into its store; whether it is there and as it was.

    Raises the errors of KubeApi.
    """
    uid, version = store.identity(key)
    try:
        found = await api.get(kind, key.namespace or None, key.name)
    except NotFoundError:
        store.wrote_deletion(key.namespace, key.name, uid)
        return False
    store.wrote(found)
    return bool(version) and version == version_of(found)
