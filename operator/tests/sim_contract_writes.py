"""The contract of writes: server-side apply, preconditions, validation (see sim_contract)."""

import asyncio

import pytest

from coffer_operator.build.digest import digest, live_digest
from coffer_operator.kube.api import (
    ABSENT,
    CONFIG_MAP,
    CONFIGURATION_GROUP,
    ENDPOINT_SLICE,
    FLAVOR,
    PVC,
    SERVICE,
    STATEFUL_SET,
    ConflictError,
    InvalidError,
    Kind,
    KubeApi,
    NotFoundError,
    Object,
)
from sim_contract_tools import (
    Kubectl,
    Stream,
    claim,
    config_map,
    configuration_group,
    endpoint_slice,
    flavor,
    owner,
    said,
    service,
    stateful_set,
    version,
)


class ServerSideApplyContract:
    """Ownership, merging, and the digest that `act` compares."""

    async def test_every_object_we_apply_has_the_digest_that_was_wanted(
        self, api: KubeApi, namespace: str
    ) -> None:
        wanted: list[tuple[Kind, Object]] = [
            (CONFIG_MAP, config_map(namespace, "digest", {"k": "v"}, labels={"a": "b"})),
            (SERVICE, service(namespace, "digest", [{"name": "db", "port": 3306}])),
            (STATEFUL_SET, stateful_set(namespace, "digest")),
            (ENDPOINT_SLICE, endpoint_slice(namespace, "digest")),
        ]
        for kind, obj in wanted:
            stored = await api.apply(kind, obj)
            assert live_digest(stored, "coffer") == digest(obj), kind.kind

    async def test_applying_the_same_again_changes_nothing_and_tells_nobody(
        self, api: KubeApi, namespace: str
    ) -> None:
        obj = stateful_set(namespace, "same")
        first = await api.apply(STATEFUL_SET, obj)
        stream = Stream(api, STATEFUL_SET, namespace, version(first))
        try:
            await asyncio.sleep(0)
            settled = await api.get(STATEFUL_SET, namespace, "same")
            again = await api.apply(STATEFUL_SET, obj)
            assert again["metadata"]["generation"] == settled["metadata"]["generation"] == 1
            changed = await api.patch(
                STATEFUL_SET, namespace, "same", {"metadata": {"annotations": {"mark": "1"}}}
            )
            await stream.until(1)
            versions = [version(event.object) for event in stream.events]
            assert versions.count(version(again)) <= 1
            assert int(versions[-1]) <= int(version(changed))
        finally:
            await stream.close()

    async def test_a_field_that_is_applied_no_more_is_removed(
        self, api: KubeApi, namespace: str
    ) -> None:
        await api.apply(
            CONFIG_MAP, config_map(namespace, "drop", {"a": "1", "b": "2"}, labels={"x": "1"})
        )
        stored = await api.apply(CONFIG_MAP, config_map(namespace, "drop", {"a": "1"}))
        assert stored["data"] == {"a": "1"}
        assert "labels" not in stored["metadata"]

    async def test_what_others_set_stays(
        self, api: KubeApi, kubectl: Kubectl, namespace: str
    ) -> None:
        await api.apply(CONFIG_MAP, config_map(namespace, "others", {"a": "1"}))
        await kubectl.patch(
            CONFIG_MAP,
            namespace,
            "others",
            {"data": {"b": "2"}, "metadata": {"labels": {"x": "1"}}},
        )
        stored = await api.apply(CONFIG_MAP, config_map(namespace, "others", {"a": "3"}))
        assert stored["data"] == {"a": "3", "b": "2"}
        assert stored["metadata"]["labels"] == {"x": "1"}

    async def test_an_edited_field_changes_the_digest_until_it_is_applied_again(
        self, api: KubeApi, kubectl: Kubectl, namespace: str
    ) -> None:
        wanted = config_map(namespace, "edited", {"a": "1"})
        await api.apply(CONFIG_MAP, wanted)
        edited = await kubectl.patch(CONFIG_MAP, namespace, "edited", {"data": {"a": "9"}})
        assert live_digest(edited, "coffer") != digest(wanted)
        repaired = await api.apply(CONFIG_MAP, wanted)
        assert repaired["data"] == {"a": "1"}
        assert live_digest(repaired, "coffer") == digest(wanted)

    async def test_a_removed_field_changes_the_digest(
        self, api: KubeApi, kubectl: Kubectl, namespace: str
    ) -> None:
        wanted = service(namespace, "cut", [{"name": "db", "port": 3306}])
        await api.apply(SERVICE, wanted)
        edited = await kubectl.patch(
            SERVICE, namespace, "cut", {"metadata": {"labels": {"a": None}}}
        )
        assert live_digest(edited, "coffer") != digest(wanted)

    async def test_ports_merge_by_number_and_protocol(
        self, api: KubeApi, kubectl: Kubectl, namespace: str
    ) -> None:
        name = "ports"
        ports = [{"name": "db", "port": 3306}, {"name": "x", "port": 33060}]
        await api.apply(SERVICE, service(namespace, name, ports))
        fewer = await api.apply(
            SERVICE, service(namespace, name, [{"name": "db", "port": 3306, "targetPort": "db"}])
        )
        assert [(p["port"], p["targetPort"]) for p in fewer["spec"]["ports"]] == [(3306, "db")]

    async def test_containers_env_and_mounts_merge_by_key(
        self, api: KubeApi, kubectl: Kubectl, namespace: str
    ) -> None:
        obj = stateful_set(namespace, "merge")
        await api.apply(STATEFUL_SET, obj)
        changed = stateful_set(namespace, "merge")
        container = changed["spec"]["template"]["spec"]["containers"][0]
        container["env"] = [{"name": "B", "value": "3"}]
        container["image"] = "localhost/guest:2"
        stored = await api.apply(STATEFUL_SET, changed)
        got = stored["spec"]["template"]["spec"]["containers"][0]
        assert got["env"] == [{"name": "B", "value": "3"}]
        assert got["image"] == "localhost/guest:2"
        assert stored["metadata"]["generation"] == 2
        assert live_digest(stored, "coffer") == digest(changed)

    async def test_an_atomic_list_is_replaced_as_a_whole(
        self, api: KubeApi, namespace: str
    ) -> None:
        name = "tolerant"
        first, second = stateful_set(namespace, name), stateful_set(namespace, name)
        first["spec"]["template"]["spec"]["tolerations"] = [
            {"key": "a", "operator": "Exists"},
            {"key": "b", "operator": "Exists"},
        ]
        second["spec"]["template"]["spec"]["tolerations"] = [{"key": "b", "operator": "Exists"}]
        await api.apply(STATEFUL_SET, first)
        stored = await api.apply(STATEFUL_SET, second)
        assert stored["spec"]["template"]["spec"]["tolerations"] == [
            {"key": "b", "operator": "Exists"}
        ]

    async def test_owner_references_merge_by_uid(self, api: KubeApi, namespace: str) -> None:
        parent = await api.create(CONFIG_MAP, config_map(namespace, "parent", {}))
        child = config_map(namespace, "child", {"k": "v"}, ownerReferences=[owner(parent)])
        stored = await api.apply(CONFIG_MAP, child)
        assert stored["metadata"]["ownerReferences"] == [owner(parent)]
        assert live_digest(stored, "coffer") == digest(child)
        alone = await api.apply(CONFIG_MAP, config_map(namespace, "child", {"k": "v"}))
        assert not alone["metadata"].get("ownerReferences")

    async def test_applying_a_slice_leaves_what_the_agent_wrote(
        self, api: KubeApi, kubectl: Kubectl, namespace: str
    ) -> None:
        name = "main-rw"
        created = await api.apply(ENDPOINT_SLICE, endpoint_slice(namespace, name))
        await kubectl.patch(
            ENDPOINT_SLICE,
            namespace,
            name,
            {
                "metadata": {
                    "resourceVersion": version(created),
                    "annotations": {"coffer.dev/epoch": "0"},
                },
                "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}],
                "ports": [{"name": "db", "port": 3306, "protocol": "TCP"}],
            },
        )
        again = endpoint_slice(namespace, name)
        again["metadata"]["labels"]["extra"] = "1"
        stored = await api.apply(ENDPOINT_SLICE, again)
        assert stored["endpoints"][0]["addresses"] == ["10.1.2.3"]
        assert stored["metadata"]["annotations"]["coffer.dev/epoch"] == "0"
        assert live_digest(stored, "coffer") == digest(again)


class WriteContract:
    """Preconditions, status, generation, validation."""

    async def test_an_apply_with_the_version_of_nothing_creates_or_fails(
        self, api: KubeApi, namespace: str
    ) -> None:
        wanted = config_map(namespace, "mine", {"a": "1"}, resourceVersion=ABSENT)
        created = await api.apply(CONFIG_MAP, wanted)
        assert created["data"] == {"a": "1"}
        assert live_digest(created, "coffer") == digest(wanted)
        with pytest.raises(ConflictError):
            await api.apply(CONFIG_MAP, {**wanted, "data": {"a": "2"}})
        assert (await api.get(CONFIG_MAP, namespace, "mine"))["data"] == {"a": "1"}

    async def test_an_apply_to_another_object_of_the_name_is_refused(
        self, api: KubeApi, namespace: str
    ) -> None:
        uid = "00000000-0000-4000-8000-000000000000"
        with pytest.raises(ConflictError):
            await api.apply(CONFIG_MAP, config_map(namespace, "new", {}, uid=uid))
        await api.create(CONFIG_MAP, config_map(namespace, "old", {"a": "1"}))
        with pytest.raises(InvalidError):
            await api.apply(CONFIG_MAP, config_map(namespace, "old", {"a": "2"}, uid=uid))
        assert (await api.get(CONFIG_MAP, namespace, "old"))["data"] == {"a": "1"}

    async def test_a_patch_of_another_object_of_the_name_is_refused(
        self, api: KubeApi, namespace: str
    ) -> None:
        await api.create(CONFIG_MAP, config_map(namespace, "same-name", {"a": "1"}))
        patch = {
            "metadata": {
                "uid": "00000000-0000-4000-8000-000000000000",
                "annotations": {"coffer.dev/x": "1"},
            }
        }
        with pytest.raises(InvalidError):
            await api.patch(CONFIG_MAP, namespace, "same-name", patch)
        found = await api.get(CONFIG_MAP, namespace, "same-name")
        assert not found["metadata"].get("annotations")

    async def test_create_refuses_a_name_that_exists(self, api: KubeApi, namespace: str) -> None:
        await api.create(CONFIG_MAP, config_map(namespace, "once", {}))
        with pytest.raises(ConflictError):
            await api.create(CONFIG_MAP, config_map(namespace, "once", {}))

    async def test_a_missing_object_is_not_found(self, api: KubeApi, namespace: str) -> None:
        with pytest.raises(NotFoundError):
            await api.get(CONFIG_MAP, namespace, "nobody")
        with pytest.raises(NotFoundError):
            await api.patch(CONFIG_MAP, namespace, "nobody", {"data": {"a": "1"}})

    async def test_a_patch_of_an_old_version_is_refused(self, api: KubeApi, namespace: str) -> None:
        first = await api.create(CONFIG_MAP, config_map(namespace, "raced", {"a": "1"}))
        await api.patch(CONFIG_MAP, namespace, "raced", {"data": {"a": "2"}})
        patch = {"metadata": {"resourceVersion": version(first)}, "data": {"a": "3"}}
        with pytest.raises(ConflictError):
            await api.patch(CONFIG_MAP, namespace, "raced", patch)
        assert (await api.get(CONFIG_MAP, namespace, "raced"))["data"] == {"a": "2"}

    async def test_a_patch_that_changes_nothing_is_no_write(
        self, api: KubeApi, namespace: str
    ) -> None:
        first = await api.create(CONFIG_MAP, config_map(namespace, "still", {"a": "1"}))
        second = await api.patch(CONFIG_MAP, namespace, "still", {"data": {"a": "1"}})
        assert version(second) == version(first)

    async def test_null_in_a_patch_removes(self, api: KubeApi, namespace: str) -> None:
        await api.create(CONFIG_MAP, config_map(namespace, "null", {"a": "1", "b": "2"}))
        stored = await api.patch(CONFIG_MAP, namespace, "null", {"data": {"a": None}})
        assert stored["data"] == {"b": "2"}

    async def test_spec_and_status_are_written_apart(
        self, api: KubeApi, kubectl: Kubectl, namespace: str
    ) -> None:
        obj = service(namespace, "parts", [{"name": "db", "port": 3306}])
        created = await api.create(SERVICE, {**obj, "status": said("Early")})
        assert not created.get("status", {}).get("conditions")
        patch = {"status": said("First"), "spec": {"ports": None}}
        patched = await api.patch(SERVICE, namespace, "parts", patch, subresource="status")
        assert patched["status"]["conditions"] == said("First")["conditions"]
        assert [port["port"] for port in patched["spec"]["ports"]] == [3306]
        edit = {"status": said("Second"), "spec": {"publishNotReadyAddresses": False}}
        edited = await kubectl.patch(SERVICE, namespace, "parts", edit)
        assert edited["status"]["conditions"] == said("First")["conditions"]
        assert not edited["spec"].get("publishNotReadyAddresses")

    async def test_only_the_spec_moves_the_generation(self, api: KubeApi, namespace: str) -> None:
        await api.create(STATEFUL_SET, stateful_set(namespace, "moves"))
        patch: Object = {"metadata": {"annotations": {"mark": "1"}}}
        marked = await api.patch(STATEFUL_SET, namespace, "moves", patch)
        assert marked["metadata"]["generation"] == 1
        patch = {"spec": {"template": {"metadata": {"annotations": {"mark": "1"}}}}}
        changed = await api.patch(STATEFUL_SET, namespace, "moves", patch)
        assert changed["metadata"]["generation"] == 2

    async def test_fields_that_our_schema_lacks_are_dropped(
        self, api: KubeApi, namespace: str
    ) -> None:
        name = f"{namespace}-unknown"
        odd = flavor(name)
        odd["spec"]["nobodyKnows"] = "this"
        created = await api.create(FLAVOR, odd)
        try:
            assert "nobodyKnows" not in created["spec"]
        finally:
            await api.delete(FLAVOR, None, name)

    async def test_our_schema_is_enforced(self, api: KubeApi, namespace: str) -> None:
        wrong = flavor(f"{namespace}-schema")
        wrong["spec"]["ram"] = "plenty"
        with pytest.raises(InvalidError):
            await api.create(FLAVOR, wrong)

    async def test_a_value_may_be_any_scalar_and_stays_what_it_was(
        self, api: KubeApi, namespace: str
    ) -> None:
        values = {"whole": 1, "part": 1.5, "on": True, "off": False, "word": "1", "dotted.x-y": 0}
        obj = configuration_group(namespace, "scalars", values)
        created = await api.create(CONFIGURATION_GROUP, obj)
        assert repr(sorted(created["spec"]["values"].items())) == repr(sorted(values.items()))
        revision = {"revision": 1, "hash": "h", "time": "2026-01-01T00:00:00Z", "values": values}
        entry = {"name": "db", "state": "Applied"}
        status = {"attached": 1, "instances": [entry], "history": [revision]}
        told = await api.patch(
            CONFIGURATION_GROUP, namespace, "scalars", {"status": status}, subresource="status"
        )
        assert told["status"]["instances"] == [entry]
        assert repr(sorted(told["status"]["history"][0]["values"].items())) == repr(
            sorted(values.items())
        )
        assert told["metadata"]["generation"] == 1
        twice = {"status": {"instances": [entry, entry]}}
        with pytest.raises(InvalidError):
            await api.patch(CONFIGURATION_GROUP, namespace, "scalars", twice, subresource="status")

    async def test_what_a_stateful_set_needs_is_enforced(
        self, api: KubeApi, namespace: str
    ) -> None:
        obj = stateful_set(namespace, "strict")
        del obj["spec"]["selector"]
        with pytest.raises(InvalidError):
            await api.apply(STATEFUL_SET, obj)
        await api.apply(STATEFUL_SET, stateful_set(namespace, "strict"))
        other = stateful_set(namespace, "strict")
        other["spec"]["serviceName"] = "another"
        with pytest.raises(InvalidError):
            await api.apply(STATEFUL_SET, other)

    async def test_a_volume_claim_keeps_its_spec(self, api: KubeApi, namespace: str) -> None:
        await api.apply(PVC, claim(namespace, "fixed"))
        other = claim(namespace, "fixed")
        other["spec"]["accessModes"] = ["ReadWriteMany"]
        with pytest.raises(InvalidError):
            await api.apply(PVC, other)
