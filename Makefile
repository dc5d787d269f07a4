# One way in. Every target prepares what it needs and may be repeated at will.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY := .venv/bin/python
CHECKED := common operator guest_sidecar cli e2e bench tests
STAMP = .venv/.stamp-$(shell cat requirements/uv.txt requirements/dev.txt pyproject.toml | sha256sum | cut -c1-16)
SEEDS ?= 0-299
# The tests' order is shuffled, in the same way each time; another way by ORDER=<number>.
ORDER ?= 1
PYTEST = .venv/bin/pytest -q --randomly-seed=$(ORDER)
# Processes of pytest for two cores: engines and clusters are waited for, pure code is not.
PURE = -n 2
ENGINES = -n 4
CLUSTERS = -n 3
# What a module sets up is its own: one process runs all of it, in the order of collection.
BY_MODULE = --dist loadfile --no-loadscope-reorder

export PYTHONHASHSEED ?= 0
# Without compiled files every run of the tests compiles them all anew: a third of the unit tier.
unexport PYTHONDONTWRITEBYTECODE
# The tables that hypothesis makes of Unicode and of our sources outlive the checkout.
export HYPOTHESIS_STORAGE_DIRECTORY ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/coffer/hypothesis

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

# --- set-up --------------------------------------------------------------------------------------
.PHONY: setup
setup: $(STAMP) ## a virtual environment with the locked packages

# The stamp is written last: an environment that was interrupted half-way is made anew.
$(STAMP):
	@echo "==> virtual environment .venv (locked packages)"
	@python3 -c 'import sys; sys.exit("coffer needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	@python3 -c 'import ensurepip' 2>/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv
	@rm -rf .venv
	@python3 -m venv .venv
	@.venv/bin/pip install --quiet --require-hashes -r requirements/uv.txt
	@.venv/bin/uv pip install --quiet --python $(PY) --require-hashes -r requirements/uv.txt -r requirements/dev.txt
	@.venv/bin/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: lock
lock: setup ## resolve requirements/*.txt anew from pyproject.toml
	@.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements/dev.txt
	@sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | .venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --python-version 3.11 -c requirements/dev.txt - -o requirements/build.txt
	@for x in operator guest cli; do .venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --python-version 3.11 --extra $$x -c requirements/dev.txt pyproject.toml -o requirements/$$x.txt; done

.PHONY: generate
generate: setup ## CRDs, chart copies and reference pages from the models
	@$(PY) -m coffer_common.resources.generate

# --- tests ---------------------------------------------------------------------------------------
.PHONY: lint
lint: setup ## format, lint, types, import contracts
	@echo "==> lint"
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy --exclude '(^|/)conftest\.py$$' $(CHECKED)
	@for file in conftest.py $$(git ls-files '*/conftest.py'); do .venv/bin/mypy "$$file" || exit 1; done
	@.venv/bin/lint-imports

.PHONY: format
format: setup ## let ruff format and mend the tree
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

.PHONY: test-unit
test-unit: setup ## pure code, in seconds
	@echo "==> unit tests"
	@$(PYTEST) $(PURE) --ignore=e2e/tests -m "not simulation and not guest and not e2e"

.PHONY: test-simulation
test-simulation: setup ## operator and command line against a simulated API server, seeded faults (SEEDS=0-299)
	@echo "==> simulation, seeds $(SEEDS)"
	@COFFER_SIM_SEEDS=$(SEEDS) $(PYTEST) $(PURE) -m simulation operator/tests cli/tests
	@echo "==> property tests, 200 examples of each"
	@HYPOTHESIS_PROFILE=deep $(PYTEST) $(PURE) --ignore=e2e/tests -m "hypothesis and not simulation and not guest and not e2e"

.PHONY: simulate
simulate: setup ## explore: make simulate SEEDS=random, or replay: SEEDS=17
	@COFFER_SIM_SEEDS=$(SEEDS) .venv/bin/pytest -q -s -m simulation operator/tests/test_op_sim_seeds.py

.PHONY: test-guest
test-guest: setup ## agent and launcher with real engines as processes
	@echo "==> guest tests"
	@$(PYTEST) $(ENGINES) $(BY_MODULE) -m guest common guest_sidecar cli

.PHONY: check-rules
check-rules: setup ## ask an installed engine about its parameters (DATASTORE=mariadb VERSION=10.11)
	@setpriv --reuid=nobody --regid=nogroup --clear-groups $(PY) -m coffer_guest.check_rules \
		$(or $(DATASTORE),mariadb) $(or $(VERSION),10.11)

.PHONY: test-e2e
test-e2e: setup ## on a real Kubernetes of its own (KEEP=1 leaves it up)
	@echo "==> end-to-end tests"
	@$(PY) -m coffer_cluster build
	@$(PY) -m coffer_images build
	@$(PYTEST) $(CLUSTERS) $(BY_MODULE) -m e2e e2e

.PHONY: test
test: lint test-unit test-simulation test-guest test-e2e ## all of the above

# --- a cluster, the images, an installation ------------------------------------------------------
.PHONY: cluster
cluster: setup ## the embedded Kubernetes, up (NODES=1)
	@$(PY) -m coffer_cluster up --nodes $(or $(NODES),1)

.PHONY: cluster-down
cluster-down: setup ## take it down, with all that was on it
	@$(PY) -m coffer_cluster down

.PHONY: kubeconfig
kubeconfig: setup ## print the path of its kubeconfig
	@$(PY) -m coffer_cluster kubeconfig

.PHONY: images
images: setup ## build the images of the Dockerfile
	@$(PY) -m coffer_images build

.PHONY: push
push: setup ## push the images to IMAGES=REGISTRY/PREFIX, print the chart's values for them
	@$(PY) -m coffer_demo push

.PHONY: install
install: setup ## images loaded, chart installed
	@$(PY) -m coffer_demo install

.PHONY: uninstall
uninstall: setup ## remove the installation; databases' volumes and the CRDs stay
	@$(PY) -m coffer_demo uninstall

.PHONY: demo
demo: setup ## from a bare machine to a connected client
	@$(PY) -m coffer_demo demo

.PHONY: bench
bench: setup ## measure against the floor, in one run
	@$(PY) -m coffer_bench
	@$(PY) -m coffer_bench.backup_pipeline
