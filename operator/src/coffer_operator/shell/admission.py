"""The validating webhook: answers `kubectl apply` at once with what the plan would find later.

Owns the answers to AdmissionReviews; the judgement is plan.validate's. Served by a small server of
our own: kopf's makes a new authority per process and restarts to take up a renewed certificate.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from coffer_common.errors import UserError
from coffer_operator.kube.api import (
    DATASTORE_VERSION,
    INSTANCE,
    VALIDATING_WEBHOOK,
    KubeApi,
    Object,
)
from coffer_operator.plan.validate import validate_datastore_version, validate_instance
from coffer_operator.plan.world import Catalogue

log = logging.getLogger(__name__)

PATH: Final = "/validate"
_MAX_BODY_BYTES: Final = 4 * 1024 * 1024  # two objects of the size that etcd takes


def review(request: Mapping[str, Any], catalogue: Catalogue) -> Object:
    """The response to the request of an AdmissionReview (admission.k8s.io/v1)."""
    errors: list[UserError] = []
    obj, old = request.get("object"), request.get("oldObject")
    kind = (request.get("kind") or {}).get("kind")
    if obj is not None and kind == INSTANCE.kind:
        errors = validate_instance(obj, catalogue, old)
    elif obj is not None and kind == DATASTORE_VERSION.kind:
        errors = validate_datastore_version(obj, catalogue, old)
    response: Object = {"uid": request["uid"], "allowed": not errors}
    if errors:
        response["status"] = {
            "code": 422,
            "reason": "Invalid",
            "message": "; ".join(error.message for error in errors),
        }
    return response


def application(catalogue: Callable[[], Catalogue | None]) -> web.Application:
    """The webhook's server.

    Without a catalogue (None: not known yet) it answers 503: `failurePolicy` decides then.
    """

    async def handle(http: web.Request) -> web.Response:
        known = catalogue()
        if known is None:
            raise web.HTTPServiceUnavailable(text="the catalogue is not known yet")
        try:
            request = (await http.json())["request"]
            response = review(request, known)
        except (ValueError, KeyError, TypeError) as error:
            raise web.HTTPBadRequest(text="no AdmissionReview") from error
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
