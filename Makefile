# Taskcast: `make` lists what there is to do. Needs Python 3.11 or newer, and nothing else to begin with.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.SUFFIXES:
.NOTPARALLEL:

# The first on PATH that is new enough; `make PYTHON=/path/to/python3 install` names another.
PYTHON ?= $(shell for name in python3 python python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Test processes; each starts servers of its own. `make test JOBS=1` runs all in one.
JOBS ?= 2
# The branch that `check` compares the contract with.
BASELINE ?= main

.PHONY: help
help: ## list the targets
	@echo "Taskcast. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: install
install: $(INSTALLED) ## make .venv and install Taskcast into it, editable, with its locked dependencies

$(INSTALLED): pyproject.toml requirements.lock
	@if [ -z "$(PYTHON)" ]; then \
		echo "Taskcast needs Python 3.11 or newer, and there is none on PATH." \
			"Install one, or name it: make PYTHON=/path/to/python3 install" >&2; exit 1; fi
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Taskcast needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
			"Name another: make PYTHON=/path/to/python3 install" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment: its module venv or ensurepip is missing." \
			"On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the locked dependencies into $(VENV); the first time this takes a minute or two ..."
	@$(PIP) install --quiet --use-pep517 --requirement requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: lock
lock: $(INSTALLED) ## resolve the dependencies of pyproject.toml anew into requirements.lock
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements.lock

.PHONY: proto
proto: $(INSTALLED) ## generate taskcast/v1 from protos/
	$(BIN)/python scripts/generate_stubs.py

.PHONY: dashboard
dashboard: $(INSTALLED) ## build the page of dashboard/ into the gateway; needs Node.js
	$(BIN)/python scripts/build_dashboard.py

.PHONY: dashboard-check
dashboard-check: $(INSTALLED) ## build the page anew and compare with what is checked in
	$(BIN)/python scripts/build_dashboard.py --check

.PHONY: format
format: $(INSTALLED) ## put the code into shape
	$(BIN)/ruff check --fix --quiet --exit-zero
	$(BIN)/ruff format

.PHONY: check
check: $(INSTALLED) ## lint, types, import rules, and the contract
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate_stubs.py --check
	$(BIN)/python scripts/generate_stubs.py --imports
	$(BIN)/buf lint
	@if [ -n "$$(git ls-tree --name-only $(BASELINE) -- protos 2>/dev/null)" ]; then \
		set -x; \
		$(BIN)/python scripts/generate_stubs.py --baseline $(BASELINE) && \
		$(BIN)/buf breaking --against build/buf/baseline; \
	else \
		echo "buf breaking: skipped, there is no contract on a branch $(BASELINE) to compare with"; \
	fi

.PHONY: test
test: check ## check, then every test, against real servers that are started for it
	@$(BIN)/python -m tests.servers
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

.PHONY: test-fast
test-fast: $(INSTALLED) ## the tests that need no server
	$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: soak
soak: $(INSTALLED) ## the tests that run for minutes
	@$(BIN)/python -m tests.servers
	$(BIN)/python -m pytest -m soak $(ARGS)

.PHONY: demo
demo: $(INSTALLED) ## start everything, run a real job with live progress, stop
	@$(BIN)/taskcast dev --demo

.PHONY: run
run: $(INSTALLED) ## start everything in the foreground, and say how to use it
	@$(BIN)/taskcast dev

.PHONY: bench
bench: $(INSTALLED) ## the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: clean
clean: ## delete what can be made again, .venv included
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
