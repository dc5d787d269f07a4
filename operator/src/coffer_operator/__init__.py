"""The operator: shell (kopf) -> observe -> plan -> act, with pure builders below plan."""
