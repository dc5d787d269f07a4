"""A real API server keeps the contract that the simulated one keeps (operator/tests/sim_*)."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest

from coffer_operator.kube.api import Kind, KubeApi, Object
from coffer_operator.kube.client import _Request, connect
from e2e_kube import Kube, Space

# The contract lies beside the simulation, whose folder pytest adds only where it collects it.
sys.path.insert(0, str(Path(__file__).parents[2] / "operator" / "tests"))

from sim_contract import DeletionContract, WatchContract
from sim_contract_writes import (
    ServerSideApplyContract,
    WriteContract,
)

pytestmark = pytest.mark.e2e


class Kubectl:
    """kubectl, as the other manager."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def patch(
        self, kind: Kind, namespace: str | None, name: str, patch: Mapping[str, Any]
    ) -> Object:
        printed = await asyncio.to_thread(
            self._kube.run,
            "patch",
            f"{kind.plural}.{kind.group}" if kind.group else kind.plural,
            name,
            *(["-n", namespace] if namespace else []),
            "--type=merge",
            f"--patch={json.dumps(patch)}",
            "--field-manager=kubectl",
            "--show-managed-fields",
            "-o",
            "json",
        )
        obj: Object = json.loads(printed)
        return obj

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        propagation: Literal["Background", "Foreground"],
    ) -> None:
        await asyncio.to_thread(
            self._kube.run,
            "delete",
            kind.plural,
            name,
            "-n",
            namespace,
            f"--cascade={propagation.lower()}",
            "--wait=false",
        )


@pytest.fixture
async def api(kube: Kube) -> AsyncIterator[KubeApi]:
    """Coffer's own client, as the administrator."""
    client = await connect(random.Random(0), kubeconfig=str(kube.kubeconfig))
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def brief_api(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeApi]:
    client = await connect(random.Random(0), kubeconfig=str(kube.kubeconfig))
    send = client._send

    async def send_brief(request: _Request) -> aiohttp.ClientResponse:
        if request.verb == "watch":
            request = replace(request, query={**request.query, "timeoutSeconds": "8"})
        return await send(request)

    monkeypatch.setattr(client, "_send", send_brief)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def kubectl(kube: Kube) -> Kubectl:
    return Kubectl(kube)


@pytest.fixture
def namespace(space: Space) -> str:
    return space.name


class TestServerSideApply(ServerSideApplyContract):
    pass


class TestWrites(WriteContract):
    @pytest.mark.usefixtures("no_webhook")  # which knows that there is no such engine
    async def test_a_value_may_be_any_scalar_and_stays_what_it_was(
        self, api: KubeApi, namespace: str
    ) -> None:
        await super().test_a_value_may_be_any_scalar_and_stays_what_it_was(api, namespace)


class TestWatches(WatchContract):
    pass


class TestDeletion(DeletionContract):
    pass
