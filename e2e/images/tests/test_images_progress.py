"""Of a builder's output, the stages in which something is done are shown, each once."""

import pytest

from coffer_images.progress import Stages

BUILDAH = """\
[1/4] STEP 1/3: FROM docker.io/library/debian:bookworm-slim AS base
[1/4] STEP 2/3: ENV LANG=C.UTF-8
--> Using cache 0123
--> 0123
[1/4] STEP 3/3: RUN apt-get update
--> Using cache 4567
--> 4567
[2/4] STEP 1/3: FROM 4567 AS tools
[2/4] STEP 2/3: RUN apt-get install
Reading package lists...
Building dependency tree...
--> 89ab
[2/4] STEP 3/3: RUN pip install
Collecting x
--> cdef
[4/4] STEP 1/2: FROM 4567 AS operator
[4/4] STEP 2/2: COPY --from=tools /out /
--> 4321
[4/4] COMMIT localhost/coffer/operator:dev
Successfully tagged localhost/coffer/operator:dev
"""

DOCKER = """\
#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s
#5 [base 1/3] FROM docker.io/library/debian:bookworm-slim
#5 DONE 0.0s
#6 [base 2/3] RUN apt-get update
#6 CACHED
#7 [tools 1/2] RUN apt-get install
#8 [linux/amd64 code-guest 3/9] COPY common/src /src/common/src
#7 0.512 Reading package lists...
#7 0.9 Building dependency tree...
#7 DONE 9.1s
#9 [code-guest 9/9] RUN pip install
#9 1.250 Processing
#9 DONE 2.0s
"""


@pytest.mark.parametrize(
    ("output", "stages"), [(BUILDAH, ["tools"]), (DOCKER, ["tools", "code-guest"])]
)
def test_stages_that_work_are_named_once(output: str, stages: list[str]) -> None:
    progress = Stages()
    shown = [progress.feed(f"{line}\n") for line in output.splitlines()]
    assert [stage for stage in shown if stage] == stages
