"""Fixtures of the cluster's own tests: one for each file, and a namespace for each test."""

import os
from collections.abc import Iterator

import pytest

from coffer_cluster.cluster import Cluster
from coffer_cluster.testing import Bench
from coffer_cluster.testing import bench as make_bench

SHARED_TAG = f"ctest{os.environ.get('PYTEST_XDIST_WORKER', '')}"
SHARED_NODES = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes. Who changes it puts it right again; KEEP=1 leaves it for a look."""
    made = Cluster(SHARED_TAG)
    made.down()
    made.up(nodes=SHARED_NODES)
    yield made
    if os.environ.get("KEEP") != "1":
        made.down()


@pytest.fixture
def bench(cluster: Cluster) -> Iterator[Bench]:
    """A namespace of the test's own."""
    with make_bench(cluster) as made:
        yield made
