"""The validating webhook: answers `kubectl apply` at once with what the plan would find later.

Owns the answers to AdmissionReviews; the judgement is plan.validate's. Served by a small server of
our own: kopf's makes a new authority per process and restarts to take up a renewed certificate.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiohttp import web

from coffer_common import naming
from coffer_common.errors import CofferError, UserError
from coffer_common.resources.backup import Backup
from coffer_common.resources.configuration import ConfigurationGroup
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.rules import Rules
from coffer_operator.kube.api import (
    BACKUP,
    BACKUP_SCHEDULE,
    BACKUP_STORAGE,
    CONFIGURATION_GROUP,
    DATASTORE_VERSION,
    INSTANCE,
    SERVICE,
    VALIDATING_WEBHOOK,
    Key,
    KubeApi,
    Object,
)
from coffer_operator.observe.project import is_ours
from coffer_operator.plan.configuration import validate_group
from coffer_operator.plan.strategies import Offers
from coffer_operator.plan.validate import validate_datastore_version, validate_instance
from coffer_operator.plan.validate_backup import (
    validate_backup,
    validate_restore,
    validate_schedule,
    validate_storage,
)
from coffer_operator.plan.wording import name_taken
from coffer_operator.plan.world import Catalogue, RestoreSource

log = logging.getLogger(__name__)

T = TypeVar("T")

PATH: Final = "/validate"
_MAX_BODY_BYTES: Final = 4 * 1024 * 1024  # two objects of the size that etcd takes
# For what is asked of the API server meanwhile: the plan finds it later. Less than the least
# timeoutSeconds that the chart allows.
_LOOK_S: Final = 1.0


@dataclass(frozen=True)
class Known:
    """What objects are judged by.

    `group` gives the ConfigurationGroup of a name, `shipped` the rules that come with Coffer for a
    datastore and version, `instance` the DatabaseInstance of a name, `source` what one is to be
    restored from, `backups` those of a namespace, `offers` the backup strategies of an instance's
    agent. None, or nothing: not known, or not there.
    """

    catalogue: Catalogue
    group: Callable[[Key], ConfigurationGroup | None] = lambda _: None
    shipped: Callable[[str, str], Rules | None] = lambda *_: None
    instance: Callable[[Key], DatabaseInstance | None] = lambda _: None
    source: Callable[[DatabaseInstance], RestoreSource | None] = lambda _: None
    backups: Callable[[str], Collection[Backup]] = lambda _: ()
    offers: Callable[[Key], Offers | None] = lambda _: None


def review(request: Mapping[str, Any], known: Known) -> Object:
    """The response to the request of an AdmissionReview (admission.k8s.io/v1)."""
    judge = _JUDGES.get(str((request.get("kind") or {}).get("kind")))
    obj, old = request.get("object"), request.get("oldObject")
    return _response(request, judge(obj, known, old) if judge and obj is not None else [])


def _response(request: Mapping[str, Any], errors: Sequence[UserError]) -> Object:
    response: Object = {"uid": request["uid"], "allowed": not errors}
    if errors:
        response["status"] = {
            "code": 422,
            "reason": "Invalid",
            "message": "; ".join(error.message for error in errors),
        }
    return response


def _instance(obj: Object, known: Known, old: Object | None) -> list[UserError]:
    group = _named(obj, "configurationRef", known.group)
    errors = validate_instance(obj, known.catalogue, old, group)
    return errors + validate_restore(obj, old, known.catalogue, known.source)


def _group(obj: Object, known: Known, old: Object | None) -> list[UserError]:
    return validate_group(obj, known.catalogue, old)


def _datastore_version(obj: Object, known: Known, old: Object | None) -> list[UserError]:
    spec = obj.get("spec") or {}
    shipped = known.shipped(str(spec.get("datastore")), str(spec.get("version")))
    return validate_datastore_version(obj, known.catalogue, old, shipped)


def _backup(obj: Object, known: Known, old: Object | None) -> list[UserError]:
    instance = _named(obj, "instanceRef", known.instance)
    others, offers = known.backups(_namespace(obj)), _named(obj, "instanceRef", known.offers)
    return validate_backup(obj, old, known.catalogue, instance, others, offers)


def _storage(obj: Object, _: Known, old: Object | None) -> list[UserError]:
    return validate_storage(obj, old)


def _schedule(obj: Object, known: Known, old: Object | None) -> list[UserError]:
    instance = _named(obj, "instanceRef", known.instance)
    offers = _named(obj, "instanceRef", known.offers)
    return validate_schedule(obj, old, known.catalogue, instance, offers)


def _named(obj: Object, field: str, find: Callable[[Key], T | None]) -> T | None:
    """What a reference of the spec leads to."""
    reference = (obj.get("spec") or {}).get(field) or {}
    return find(Key(_namespace(obj), reference["name"])) if "name" in reference else None


def _namespace(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "")


_JUDGES: Final[Mapping[str, Callable[[Object, Known, Object | None], list[UserError]]]] = {
    INSTANCE.kind: _instance,
    CONFIGURATION_GROUP.kind: _group,
    DATASTORE_VERSION.kind: _datastore_version,
    BACKUP.kind: _backup,
    BACKUP_STORAGE.kind: _storage,
    BACKUP_SCHEDULE.kind: _schedule,
}


async def taken_service(api: KubeApi, request: Mapping[str, Any]) -> UserError | None:
    """The Service of somebody else under a name that a new instance needs.

    It bears no label of ours, so no informer knows it. None where nobody can tell in time, too.
    """
    obj, kind = request.get("object") or {}, (request.get("kind") or {}).get("kind")
    name = (obj.get("metadata") or {}).get("name")
    if (request.get("operation"), kind) != ("CREATE", INSTANCE.kind) or not name:
        return None
    key = Key(_namespace(obj), name)

    async def is_foreign(service: str) -> bool:
        try:
            return not is_ours(await api.get(SERVICE, key.namespace, service), key)
        except CofferError:
            return False

    names = (name, naming.read_write_service(name), naming.read_only_service(name))
    try:
        async with asyncio.timeout(_LOOK_S):
            foreign = await asyncio.gather(*map(is_foreign, names))
    except TimeoutError:
        return None
    taken = [service for service, found in zip(names, foreign, strict=True) if found]
    return name_taken(SERVICE.kind, taken[0]) if taken else None


def application(known: Callable[[], Known | None], api: KubeApi) -> web.Application:
    """The webhook's server.

    While nothing is known yet (None) it answers 503: `failurePolicy` decides then.
    """

    async def handle(http: web.Request) -> web.Response:
        judged_by = known()
        if judged_by is None:
            raise web.HTTPServiceUnavailable(text="the catalogue is not known yet")
        try:
            request = (await http.json())["request"]
            response = review(request, judged_by)
        except (ValueError, KeyError, TypeError) as error:
            raise web.HTTPBadRequest(text="no AdmissionReview") from error
        if response["allowed"] and (taken := await taken_service(api, request)):
            response = _response(request, [taken])
        return web.json_response(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        )

    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.router.add_post(PATH, handle)
    return app


async def register(api: KubeApi, name: str, bundle: str) -> bool:
    """Write our authority (base64) into the webhook configuration; whether that was needed.

    Raises the errors of KubeApi; a list is replaced as a whole, so the rest is written back as it
    was read, on that version only.
    """
    found = await api.get(VALIDATING_WEBHOOK, None, name)
    webhooks = found.get("webhooks") or []
    if all((hook.get("clientConfig") or {}).get("caBundle") == bundle for hook in webhooks):
        return False
    for hook in webhooks:
        hook["clientConfig"] = {**(hook.get("clientConfig") or {}), "caBundle": bundle}
    version = found["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "webhooks": webhooks}
    await api.patch(VALIDATING_WEBHOOK, None, name, patch)
    log.info("webhook configuration %s now trusts our authority", name)
    return True
