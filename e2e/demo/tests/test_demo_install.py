"""What helm is told of the images."""

import pytest

from coffer_cluster.errors import UnsupportedError
from coffer_demo.install import chart_values, image_options, push

NAMES = {
    "operator": "localhost:5000/coffer/operator:abc",
    "guest-redis": "registry.example/coffer/guest-redis:def",
}


def test_values_are_those_of_the_chart() -> None:
    assert chart_values(NAMES) == {
        "images": {
            "operator": {"repository": "localhost:5000/coffer/operator", "tag": "abc"},
            "guest": {"redis": {"repository": "registry.example/coffer/guest-redis", "tag": "def"}},
        }
    }


def test_options_are_the_same_values() -> None:
    (option,) = image_options({"operator": NAMES["operator"]})
    wanted = '{"operator": {"repository": "localhost:5000/coffer/operator", "tag": "abc"}}'
    assert option == f"--set-json=images={wanted}"


def test_without_a_registry_nothing_is_built() -> None:
    with pytest.raises(UnsupportedError, match="IMAGES=REGISTRY/PREFIX"):
        push({})
