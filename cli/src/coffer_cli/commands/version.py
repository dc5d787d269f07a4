"""kubectl coffer version."""

from importlib.metadata import version as installed_version
from typing import Any

import click

from coffer_cli import output
from coffer_cli.api import DEPLOYMENT, Api, Object
from coffer_cli.app import App, cluster_options, output_option, pass_app
from coffer_cli.errors import ApiError, Exit
from coffer_cli.text import fields
from coffer_common.naming import API_VERSION, GROUP

_SELECTOR = "app.kubernetes.io/name=coffer,app.kubernetes.io/component=operator"
_WIDTH = len("Kubernetes")
_VERSION_LABEL = "app.kubernetes.io/version"


@click.command()
@click.option("--client", is_flag=True, help="Only this program's version; asks no cluster.")
@output_option("text", "json", "yaml", default="text")
@cluster_options
@pass_app
def version(app: App, *, client: bool, form: str) -> None:
    """Show the versions of this program, of the operator and of the API."""
    found: dict[str, Any] = {"client": {"version": installed_version("coffer"), "api": API_VERSION}}
    if form == "text":
        click.echo(
            fields([("Client", f"{found['client']['version']} ({API_VERSION})")], width=_WIDTH)
        )
    if not client:
        found |= _server(app.api)
        if form == "text":
            click.echo(fields(_lines(found), width=_WIDTH))
    if form != "text":
        output.dump(found, form)


def _server(api: Api) -> dict[str, Any]:
    kubernetes = api.get_path("/version").get("gitVersion", "unknown")
    try:
        group = api.get_path(f"/apis/{GROUP}")
        served = [entry["groupVersion"] for entry in group.get("versions") or ()]
    except ApiError as error:
        if error.code is not Exit.NOT_FOUND:
            raise
        served = []
    return {"operator": _operators(api), "api": served, "kubernetes": kubernetes}


def _operators(api: Api) -> list[dict[str, Any]] | str:
    try:
        found = api.list(DEPLOYMENT, None, labelSelector=_SELECTOR)
    except ApiError as error:
        if error.code is Exit.REFUSED:
            return "unknown: not permitted to list deployments"
        raise
    return [_operator(deployment) for deployment in found]


def _operator(deployment: Object) -> dict[str, Any]:
    meta, status = deployment["metadata"], deployment.get("status") or {}
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return {
        "namespace": meta.get("namespace"),
        "name": meta["name"],
        "version": (meta.get("labels") or {}).get(_VERSION_LABEL, "unknown"),
        "image": containers[0]["image"],
        "ready": f"{status.get('readyReplicas', 0)}/{deployment['spec'].get('replicas', 1)}",
    }


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    operators = found["operator"]
    if isinstance(operators, str):
        texts = [operators]
    else:
        texts = [
            f"{o['version']} (image {o['image']}, {o['ready']} ready in namespace {o['namespace']})"
            for o in operators
        ] or ["none found in this cluster"]
    return [
        *(("Operator", text) for text in texts),
        ("API", ", ".join(found["api"]) or f"{GROUP} is not served: Coffer is not installed"),
        ("Kubernetes", found["kubernetes"]),
    ]
