"""The simulated API server keeps the contract that a real one keeps (see e2e)."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from coffer_operator.kube.api import Kind, KubeApi, Object
from sim_apiserver import NAMESPACE, ApiServer, Deletion, Propagation
from sim_client import SimClient
from sim_contract import DeletionContract, WatchContract
from sim_contract_writes import ServerSideApplyContract, WriteContract
from sim_gc import GarbageCollector


class OtherManager:
    """kubectl, in memory."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any],
    ) -> Object:
        return self._server.patch(kind, namespace, name, patch, manager="kubectl")

    async def delete(self, kind: Kind, namespace: str, name: str, propagation: Propagation) -> None:
        self._server.delete(kind, namespace, name, Deletion(propagation=propagation))


@pytest.fixture
async def server() -> ApiServer:
    server = ApiServer(random.Random(0), lambda: datetime.now(UTC))
    GarbageCollector(server, lambda: 0.0)
    server.create(
        NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "contract"}}
    )
    server.history.compact()
    return server


@pytest.fixture
def api(server: ApiServer) -> KubeApi:
    return SimClient(server)


@pytest.fixture
def brief_api(server: ApiServer) -> KubeApi:
    return SimClient(server, bookmark_s=0.01)


@pytest.fixture
def kubectl(server: ApiServer) -> OtherManager:
    return OtherManager(server)


@pytest.fixture
def namespace(server: ApiServer) -> str:
    return "contract"


class TestServerSideApply(ServerSideApplyContract):
    pass


class TestWrites(WriteContract):
    pass


class TestWatches(WatchContract):
    pass


class TestDeletion(DeletionContract):
    pass
