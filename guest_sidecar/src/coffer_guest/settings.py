"""What the agent is started with: paths, addresses, and who its pod is. Parses, decides nothing."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coffer_common import naming
from coffer_guest.paths import Paths


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod as the downward API names it; empty strings outside a cluster."""

    name: str = ""
    uid: str = ""
    ip: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about this agent process that never changes."""

    paths: Paths = field(default_factory=Paths)
    pod: Pod = field(default_factory=Pod)
    host: str | None = None  # where the agent listens; None is every address
    agent_port: int = naming.AGENT_PORT
    probe_port: int = naming.PROBE_PORT
    engine_address: str = "*"
    api_server: str | None = None  # https://host:port; None outside a cluster


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings of a command line and an environment."""
    defaults = Paths()
    parser = argparse.ArgumentParser(prog="coffer-guest", description="Coffer's guest agent")
    parser.add_argument("--volume", type=Path, default=defaults.volume)
    parser.add_argument("--run", type=Path, default=defaults.run)
    parser.add_argument("--instance-file", type=Path, default=defaults.instance_file)
    parser.add_argument("--tls", type=Path, default=defaults.tls)
    parser.add_argument("--service-account", type=Path, default=defaults.service_account)
    parser.add_argument("--seed", type=Path, default=None)
    parser.add_argument("--host", default=None)
    parser.add_argument("--agent-port", type=int, default=naming.AGENT_PORT)
    parser.add_argument("--probe-port", type=int, default=naming.PROBE_PORT)
    parser.add_argument("--engine-address", default="*")
    given = parser.parse_args(argv)
    return Settings(
        paths=Paths(
            volume=given.volume,
            run=given.run,
            instance_file=given.instance_file,
            tls=given.tls,
            service_account=given.service_account,
            seed=given.seed,
        ),
        pod=Pod(
            name=environ.get("POD_NAME", ""),
            uid=environ.get("POD_UID", ""),
            ip=environ.get("POD_IP", ""),
            node=environ.get("NODE_NAME", ""),
        ),
        host=given.host,
        agent_port=given.agent_port,
        probe_port=given.probe_port,
        engine_address=given.engine_address,
        api_server=_api_server(environ),
    )


def _api_server(environ: Mapping[str, str]) -> str | None:
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return None
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
