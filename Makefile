# The one runner: people, CI and pre-commit all come through here. `make help` lists what there is.
# Needs python3 (3.11 or newer); everything else goes into .venv, at the versions in constraints.txt.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOTS := core storage transports bench
# Touched last, so an install that was broken off is taken up again.
READY := $(VENV)/.ready
NPM_READY := tests/npm/node_modules/.ready
SDK := $(VENV)/leancloud_sdk
SDK_READY := $(SDK)/.ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start hundreds of processes. Where an environment forbids bytecode, each would compile all modules anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test thorough check static bench clean format format-check lint types layers fast-tests

help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(READY) ## the broker in one minute: sends, receives, restarts
	$(BIN)/postroom demo

test: $(READY) $(NPM_READY) $(SDK_READY) ## the whole test suite
	$(BIN)/pytest -n auto --dist worksteal

thorough: $(READY) ## look twenty times as long for what nobody thought of (half an hour)
	POSTROOM_THOROUGH=20 $(BIN)/pytest -n auto --dist worksteal tests/stateful $(wildcard tests/http/*_fuzz.py)

check: static fast-tests ## before a commit: format, lint, types, layers, fast tests

static: format-check lint types layers ## what CI asks first, without a test

bench: $(READY) ## how fast it is on this machine
	$(BIN)/postroom bench publish --seconds 3
	$(BIN)/postroom bench publish --seconds 3 --history
	$(BIN)/postroom bench http --seconds 3
	$(BIN)/postroom bench http --seconds 3 --host h11
	$(BIN)/postroom bench fanout --seconds 3
	$(BIN)/postroom bench fanout --seconds 3 --host h11
	$(BIN)/postroom bench drain --seconds 2 --host h11
	$(BIN)/postroom bench deaf --seconds 3 --host h11
	$(BIN)/postroom bench idle --host h11
	$(BIN)/postroom bench history --seconds 0.5 --messages 200000
	$(BIN)/postroom bench import
	$(BIN)/postroom bench subscribers --seconds 3

format: $(READY) ## rewrite the code in our format, with the fixes that are safe
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

clean: ## remove what make made: .venv, builds, caches
	rm -rf $(VENV) build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf tests/npm/node_modules
	find $(ROOTS) tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The pieces of `make check`.

format-check: $(READY)
	$(BIN)/ruff format --check

lint: $(READY)
	$(BIN)/ruff check

# mypy sees the folders through the links below; sed gives the files their real names again.
types: $(READY)
	$(BIN)/mypy --strict $(ROOTS:%=-p postroom.%) | sed 's#^$(VENV)/typed/postroom/##'

layers: $(READY)
	$(BIN)/lint-imports

fast-tests: $(READY)
	$(BIN)/pytest -q tests/test_tidy.py $(wildcard tests/unit)

# The editable install points at the folders, not at files: a new module needs no new install, neither for Python nor,
# through the links, for mypy. Only a change of the packaging itself does.
$(READY): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'Postroom needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo 'This Python cannot make a venv. On Debian or Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	mkdir -p $(VENV)/typed/postroom
	for root in $(ROOTS); do ln -sfn ../../../$$root $(VENV)/typed/postroom/$$root; done
	touch $@

# Builders of tokens, which only the tests of these need; node and npm are from the venv.
$(NPM_READY): tests/npm/package.json | $(READY)
	$(BIN)/npm install --prefix tests/npm --no-package-lock --ignore-scripts --no-audit --no-fund \
	    --no-update-notifier --loglevel=error
	touch $@

# A client of LeanCloud's, which only its test needs, apart from ours: it wants older versions of what we have.
$(SDK_READY): tests/leancloud_sdk/requirements.txt | $(READY)
	$(PYTHON) -m venv --clear $(SDK)
	$(SDK)/bin/python -m pip install --quiet --no-deps -r $<
	touch $@
