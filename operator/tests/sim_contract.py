"""What Coffer relies on of an API server, as tests that run on the simulated and on a real one.

A subclass gives the fixtures: `api` (Coffer's own client), `brief_api` (another, whose watches end
within seconds), `kubectl` (another manager's requests,
for what a user does), `namespace` (an empty one). Waits are for conditions, with a deadline.
"""

import asyncio

import pytest

from coffer_operator.kube.api import (
    CONFIG_MAP,
    FLAVOR,
    NETWORK_POLICY,
    ConflictError,
    GoneError,
    KubeApi,
    NotFoundError,
)
from sim_contract_tools import (
    Kubectl,
    Propagation,
    Stream,
    config_map,
    current,
    eventually,
    missing,
    owner,
    version,
)


class WatchContract:
    """Lists and watches."""

    async def test_a_watch_tells_what_happened_in_order(self, api: KubeApi, namespace: str) -> None:
        since = await current(api, CONFIG_MAP)
        stream = Stream(api, CONFIG_MAP, namespace, since)
        try:
            await api.create(CONFIG_MAP, config_map(namespace, "one", {}))
            await api.create(CONFIG_MAP, config_map(namespace, "two", {}))
            await api.patch(CONFIG_MAP, namespace, "one", {"data": {"a": "1"}})
            await api.delete(CONFIG_MAP, namespace, "two")
            seen = [event for event in await stream.until(4) if not event[1].endswith(".crt")]
            assert seen[-4:] == [
                ("ADDED", "one"),
                ("ADDED", "two"),
                ("MODIFIED", "one"),
                ("DELETED", "two"),
            ]
            versions = [int(version(event.object)) for event in stream.events]
            assert versions == sorted(versions)
        finally:
            await stream.close()

    async def test_a_selector_turns_changes_into_additions_and_deletions(
        self, api: KubeApi, namespace: str
    ) -> None:
        await api.create(CONFIG_MAP, config_map(namespace, "joins", {}))
        since = await current(api, CONFIG_MAP)
        seen: list[str] = []

        async def follow() -> None:
            events = api.watch(
                CONFIG_MAP, resource_version=since, label_selector=f"team={namespace}"
            )
            async for event in events:
                if event.type != "BOOKMARK":
                    seen.append(event.type)

        task = asyncio.create_task(follow())
        try:
            for value in (namespace, namespace, None):
                patch = {"metadata": {"labels": {"team": value}}, "data": {"n": str(value)}}
                await api.patch(CONFIG_MAP, namespace, "joins", patch)
            await api.patch(CONFIG_MAP, namespace, "joins", {"data": {"n": "4"}})
            await api.patch(
                CONFIG_MAP, namespace, "joins", {"metadata": {"labels": {"team": namespace}}}
            )

            async def three() -> bool | None:
                return len(seen) >= 3 or None

            await eventually(three, f"three events, there are {seen}")
            assert seen == ["ADDED", "DELETED", "ADDED"]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def test_the_pages_of_a_list_have_one_version(self, api: KubeApi, namespace: str) -> None:
        for number in range(5):
            await api.create(
                CONFIG_MAP, config_map(namespace, f"page-{number}", {}, labels={"of": namespace})
            )
        selector = f"of={namespace}"
        first = await api.list_page(CONFIG_MAP, label_selector=selector, limit=2)
        assert first.continue_token
        await api.create(
            CONFIG_MAP, config_map(namespace, "page-later", {}, labels={"of": namespace})
        )
        pages = [first]
        while pages[-1].continue_token:
            pages.append(
                await api.list_page(
                    CONFIG_MAP,
                    label_selector=selector,
                    limit=2,
                    continue_token=pages[-1].continue_token,
                )
            )
        names = [obj["metadata"]["name"] for page in pages for obj in page.items]
        assert names == [f"page-{number}" for number in range(5)]
        assert len({page.resource_version for page in pages}) == 1

    async def test_a_version_that_is_too_old_is_gone(self, api: KubeApi) -> None:
        events = aiter(api.watch(FLAVOR, resource_version="1"))
        with pytest.raises(GoneError):
            await anext(events)

    async def test_after_gone_a_list_and_a_watch_from_it_lose_nothing(
        self, api: KubeApi, namespace: str
    ) -> None:
        since = await current(api, CONFIG_MAP)
        await api.create(CONFIG_MAP, config_map(namespace, "between", {}))
        stream = Stream(api, CONFIG_MAP, namespace, since)
        try:
            assert ("ADDED", "between") in await stream.until(1)
        finally:
            await stream.close()

    @pytest.mark.timeout(200)
    async def test_a_quiet_watch_gets_bookmarks(
        self, api: KubeApi, brief_api: KubeApi, namespace: str
    ) -> None:
        """A real server sends one every minute or two, and often before it ends a watch."""
        since = await current(api, NETWORK_POLICY)
        streams = [Stream(each, NETWORK_POLICY, namespace, since) for each in (api, brief_api)]

        async def one() -> list[str] | None:
            return [version for stream in streams for version in stream.bookmarks] or None

        try:
            bookmarks = await eventually(one, "a bookmark", 150.0)
            assert int(bookmarks[0]) >= int(since)
        finally:
            for stream in streams:
                await stream.close()


class DeletionContract:
    """Deletion, finalizers, garbage collection."""

    async def test_deleting_another_object_of_the_name_is_refused(
        self, api: KubeApi, namespace: str
    ) -> None:
        created = await api.create(CONFIG_MAP, config_map(namespace, "this", {}))
        with pytest.raises(ConflictError):
            await api.delete(CONFIG_MAP, namespace, "this", uid="not-its-uid")
        await api.delete(CONFIG_MAP, namespace, "this", uid=created["metadata"]["uid"])
        await missing(api, CONFIG_MAP, namespace, "this")

    async def test_deleting_what_is_not_there_succeeds(self, api: KubeApi, namespace: str) -> None:
        await api.delete(CONFIG_MAP, namespace, "nobody")

    async def test_a_finalizer_holds_the_object(self, api: KubeApi, namespace: str) -> None:
        name = "held"
        await api.create(
            CONFIG_MAP, config_map(namespace, name, {}, finalizers=["coffer.dev/test"])
        )
        await api.delete(CONFIG_MAP, namespace, name)
        held = await api.get(CONFIG_MAP, namespace, name)
        assert held["metadata"]["deletionTimestamp"]
        await api.patch(CONFIG_MAP, namespace, name, {"metadata": {"finalizers": None}})
        await missing(api, CONFIG_MAP, namespace, name)

    @pytest.mark.parametrize("propagation", ["Background", "Foreground"])
    async def test_children_go_with_their_owner(
        self, api: KubeApi, kubectl: Kubectl, namespace: str, propagation: Propagation
    ) -> None:
        parent = await api.create(CONFIG_MAP, config_map(namespace, "owner", {}))
        child = config_map(namespace, "owned", {}, ownerReferences=[owner(parent)])
        await api.apply(CONFIG_MAP, child)
        await api.apply(CONFIG_MAP, config_map(namespace, "free", {}))
        await kubectl.delete(CONFIG_MAP, namespace, "owner", propagation)
        await missing(api, CONFIG_MAP, namespace, "owner")
        await missing(api, CONFIG_MAP, namespace, "owned")
        assert await api.get(CONFIG_MAP, namespace, "free")

    async def test_a_child_of_an_owner_that_is_gone_is_removed(
        self, api: KubeApi, namespace: str
    ) -> None:
        parent = await api.create(CONFIG_MAP, config_map(namespace, "gone", {}))
        await api.delete(CONFIG_MAP, namespace, "gone")
        orphan = config_map(namespace, "orphan", {}, ownerReferences=[owner(parent)])
        await api.apply(CONFIG_MAP, orphan)
        await missing(api, CONFIG_MAP, namespace, "orphan")

    async def test_a_namespace_of_the_same_name_must_exist(self, api: KubeApi) -> None:
        with pytest.raises(NotFoundError):
            await api.create(CONFIG_MAP, config_map("no-such-namespace", "x", {}))
