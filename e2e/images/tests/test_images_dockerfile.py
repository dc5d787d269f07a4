"""The Dockerfile is read right, and keeps its promises."""

import json
from pathlib import Path

import pytest

from coffer_cluster.errors import UnsupportedError
from coffer_common import naming
from coffer_images import base, dockerfile, inputs
from coffer_images.buildah import SCRATCH_LABEL
from coffer_images.images import ROOT

TEXT = """\
# a comment
FROM debian AS base
RUN a \\
    && b
FROM base AS tools
COPY requirements/tools.txt /src/
FROM tools AS code-guest
COPY --chmod=0644 guest/src common/src /src/
FROM base AS operator
COPY --from=tools /out /
CMD ["operator"]
FROM base AS engine
FROM engine AS guest-one
COPY --from=code-guest /out /
FROM base AS guest-two
COPY --from=code-guest /out /
"""


def test_only_operator_and_guests_are_images() -> None:
    assert dockerfile.targets(dockerfile.parse(TEXT)) == ["operator", "guest-one", "guest-two"]


def test_an_image_is_made_of_the_stages_that_it_starts_and_copies_from() -> None:
    stages = dockerfile.parse(TEXT)
    made_of = [stage.name for stage in dockerfile.made_of(stages, "guest-one")]
    assert made_of == ["base", "tools", "code-guest", "engine", "guest-one"]
    assert [stage.name for stage in dockerfile.made_of(stages, "operator")] == [
        "base",
        "tools",
        "operator",
    ]


def test_sources_are_what_comes_from_outside() -> None:
    stages = dockerfile.parse(TEXT)
    assert stages["code-guest"].sources == ["guest/src", "common/src"]
    assert stages["guest-one"].sources == []
    assert dockerfile.external_images(stages) == {"debian"}


def test_continued_lines_are_one_instruction() -> None:
    assert dockerfile.parse(TEXT)["base"].instructions[1].split() == ["RUN", "a", "&&", "b"]


@pytest.mark.parametrize("text", ["FROM debian\n", "RUN a\n", "ARG a\nFROM debian AS base\n"])
def test_what_it_does_not_understand_is_said(text: str) -> None:
    with pytest.raises(UnsupportedError, match="Dockerfile"):
        dockerfile.parse(text)


# --- the project's own ---

STAGES = dockerfile.parse((ROOT / "Dockerfile").read_text())
TARGETS = dockerfile.targets(STAGES)
GUESTS = [name for name in TARGETS if name.startswith("guest-")]


def _sources(target: str) -> set[str]:
    return {source for stage in dockerfile.made_of(STAGES, target) for source in stage.sources}


def test_it_has_the_images_of_the_catalogue() -> None:
    assert TARGETS == ["operator", "guest-mariadb", "guest-redis"]


def test_it_starts_from_the_base_that_is_made_without_a_registry() -> None:
    assert dockerfile.external_images(STAGES) == {base.IMAGE}


@pytest.mark.parametrize("target", GUESTS)
def test_an_edit_of_one_side_makes_no_image_of_the_other(target: str) -> None:
    assert "operator/src" not in _sources(target)
    assert "guest_sidecar/src" not in _sources("operator")


def test_guests_share_their_layers_up_to_the_engine() -> None:
    chains = []
    for target in GUESTS:
        chain = [target]
        while chain[-1] in STAGES:
            chain.append(STAGES[chain[-1]].parent)
        chains.append(chain)
    assert all("guest" in chain for chain in chains)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_nobody_special_without_a_shell(target: str) -> None:
    last = STAGES[target].instructions
    uid = 65532 if target == "operator" else naming.RUN_AS_UID
    command = [*naming.INIT, f"coffer-{target.split('-', maxsplit=1)[0]}"]
    assert last[-2:] == [f"USER {uid}:{uid}", f"CMD {json.dumps(command)}"]
    assert not any(
        line.startswith("ENTRYPOINT")
        for stage in dockerfile.made_of(STAGES, target)
        for line in stage.instructions
    )


@pytest.mark.parametrize("target", TARGETS)
def test_our_code_is_the_topmost_layer(target: str) -> None:
    copies = [line for line in STAGES[target].instructions if line.startswith(("COPY", "RUN"))]
    assert copies[-1].startswith("COPY --from=code-")


def test_stages_of_code_are_told_from_those_worth_keeping() -> None:
    scratch = {
        name for name, stage in STAGES.items() if f"LABEL {SCRATCH_LABEL}" in stage.instructions
    }
    assert scratch == {"code-operator", "code-guest"}


def test_dockerignore_lets_through_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    for source in {source for target in TARGETS for source in _sources(target)}:
        assert any(source == one or source.startswith(f"{one}/") for one in allowed) or (
            source.startswith("requirements/") and "requirements/*.txt" in allowed
        )
    ignored = {line.removeprefix("**/") for line in lines if line.startswith("**/")}
    assert ignored == set(inputs.IGNORED)
    assert "*" in lines


@pytest.mark.parametrize("target", TARGETS)
def test_what_it_copies_exists(target: str) -> None:
    for source in _sources(target):
        assert Path(ROOT / source).exists(), source
