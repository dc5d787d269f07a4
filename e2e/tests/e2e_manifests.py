"""Manifests that the end-to-end tests start from."""

from typing import Any

from e2e_kube import Object

API_VERSION = "coffer.dev/v1alpha1"


def instance(name: str, engine: str = "mariadb", **spec: Any) -> Object:
    """A small DatabaseInstance; keywords replace fields of its spec."""
    base: Object = {
        "datastore": {"type": engine},
        "flavor": "tiny",
        "volume": {"size": "1Gi" if engine == "mariadb" else "256Mi"},
    }
    if engine == "mariadb":
        base["databases"] = [{"name": "shop"}]
        base["users"] = [{"name": "app", "databases": ["shop"]}]
    else:
        base["users"] = [{"name": "app"}]
    return {
        "apiVersion": API_VERSION,
        "kind": "DatabaseInstance",
        "metadata": {"name": name},
        "spec": {**base, **spec},
    }


def operation(name: str, target: str, kind: str, **spec: Any) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Operation",
        "metadata": {"name": name},
        "spec": {"instanceRef": {"name": target}, "type": kind, **spec},
    }


def group(name: str, values: Object, engine: str = "mariadb", **spec: Any) -> Object:
    """A ConfigurationGroup for the default version of an engine."""
    version = {"mariadb": "10.11", "redis": "7.0"}[engine]
    return {
        "apiVersion": API_VERSION,
        "kind": "ConfigurationGroup",
        "metadata": {"name": name},
        "spec": {"datastore": {"type": engine, "version": version}, "values": values, **spec},
    }
