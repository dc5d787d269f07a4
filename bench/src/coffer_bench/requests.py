"""Requests to the API server by who sent them, counted from the server's own audit log."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sender:
    """Who sent a request: the operator, an instance's agent, or somebody else."""

    operator: int
    agents: int
    by_verb: dict[str, int]


def count(log: Path, begin: int, operator_account: str) -> Sender:
    """Requests logged after byte `begin`; long-lived watches and the operator's Lease are left out.

    Agents are the ServiceAccounts of namespaces other than the operator's and Kubernetes' own.
    """
    operator = agents = 0
    verbs: Counter[str] = Counter()
    own_namespace = operator_account.split(":")[2]
    with log.open("rb") as file:
        file.seek(begin)
        for line in file:
            event = json.loads(line)
            account = event["user"]["username"]
            resource = event.get("objectRef", {}).get("resource", "")
            if event["verb"] == "watch" or resource == "leases":
                continue
            if account == operator_account:
                operator += 1
                verbs[f"{event['verb']} {resource}"] += 1
            elif account.startswith("system:serviceaccount:"):
                namespace = account.split(":")[2]
                if namespace not in (own_namespace, "kube-system"):
                    agents += 1
                    verbs[f"agent {event['verb']} {resource}"] += 1
    return Sender(operator, agents, dict(verbs.most_common()))
