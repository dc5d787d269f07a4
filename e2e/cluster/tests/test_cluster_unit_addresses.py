"""The plan of names and networks: a function of the tag, without clashes."""

from itertools import pairwise

import pytest

from coffer_cluster.addresses import DEFAULT_TAG, MAX_NODES, plan_for
from coffer_cluster.errors import UnsupportedError

TAGS = [DEFAULT_TAG, "a", "test", "clusterlife", *(f"t{number}" for number in range(300))]


def test_default_tag_has_the_known_networks() -> None:
    plan = plan_for(DEFAULT_TAG)
    assert [str(network) for network in plan.networks] == [
        "10.99.0.0/24",
        "10.245.0.0/16",
        "10.97.0.0/16",
    ]
    assert plan.api_url == "https://10.99.0.1:6443"
    assert str(plan.node_address(2)) == "10.99.0.12"
    assert str(plan.pod_network(2)) == "10.245.2.0/24"


def test_networks_of_one_tag_do_not_overlap() -> None:
    for nodes, pods, services in (plan.networks for plan in map(plan_for, TAGS)):
        assert not nodes.overlaps(pods)
        assert not nodes.overlaps(services)
        assert not pods.overlaps(services)


def test_networks_of_two_tags_are_the_same_or_apart() -> None:
    plans = {plan.nodes: plan for plan in map(plan_for, TAGS)}
    assert len(plans) == 63, "so many tags must use every slot"
    networks = [network for plan in plans.values() for network in plan.networks]
    networks.sort()
    for one, other in pairwise(networks):
        assert not one.overlaps(other)


def test_same_tag_gives_the_same_plan() -> None:
    assert plan_for("test") == plan_for("test")


@pytest.mark.parametrize("tag", TAGS[:10])
def test_every_node_lies_within_the_networks(tag: str) -> None:
    plan = plan_for(tag)
    addresses = {plan.node_address(number) for number in range(1, MAX_NODES + 1)}
    assert len(addresses) == MAX_NODES
    assert addresses.isdisjoint({plan.control_plane, plan.machine})
    assert all(address in plan.nodes for address in addresses)
    assert plan.pod_network(MAX_NODES).subnet_of(plan.pods)
    assert plan.s3_service in plan.services


def test_interface_names_fit_the_kernel() -> None:
    assert len(plan_for("elevenchars").machine_link) <= 15


@pytest.mark.parametrize("tag", ["", "A", "1a", "a-b", "a/b", "..", "twelveletter", "a b"])
def test_what_cannot_name_a_cluster_is_refused(tag: str) -> None:
    with pytest.raises(UnsupportedError, match="cannot name a cluster"):
        plan_for(tag)
