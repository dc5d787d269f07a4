"""The StatefulSet: one pod, never replaced by Kubernetes on its own account (OnDelete)."""

from coffer_common import naming
from coffer_operator.build.identity import Blueprint, Object
from coffer_operator.build.pod import pod_template, template_hash


def stateful_set(plan: Blueprint) -> Object:
    """The StatefulSet. Its annotations say which template and flavor were applied last."""
    identity = plan.identity
    template = pod_template(plan)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": identity.metadata(
            identity.name,
            annotations={
                naming.ANNOTATION_TEMPLATE_HASH: template_hash(template),
                naming.ANNOTATION_FLAVOR: plan.flavor_name,
            },
        ),
        "spec": {
            "replicas": 1,
            "serviceName": identity.name,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {naming.LABEL_INSTANCE: identity.name}},
            "template": template,
        },
    }
