# Every target sets up what it needs: a virtual environment in .venv with adjit installed in place.
# Only Python >= 3.11 (with its venv module) is taken for granted. `make PYTHON=/path/to/python` names one.

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast sweep check format bench clean

BIN := .venv/bin
JOBS ?= auto
PYTEST_ARGS ?=

help:                ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 14

# The first interpreter on PATH that runs and is new enough (a name may exist and still not run).
$(BIN)/python:
	@set -e; \
	for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "creating .venv with $$($$python --version)"; \
	    $$python -m venv .venv; exit 0; \
	  fi; \
	done; \
	echo "adjit needs Python 3.11 or newer; none found on PATH (make PYTHON=/path/to/python ...)" >&2; exit 1

# One stamp per set of extras; a changed pyproject.toml installs again.
.venv/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

setup: .venv/.installed-dev  ## .venv with adjit (editable) and what its development needs

demo: .venv/.installed-demo  ## fit an epidemic model through an adaptive integrator; pictures and IR in out/
	$(BIN)/python examples/sir_influenza.py

test: .venv/.installed-dev  ## every test but the sweep of random programs
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m 'not sweep' $(PYTEST_ARGS)

test-fast: .venv/.installed-dev  ## the daily lane: what is not marked slow
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m 'not slow and not sweep' $(PYTEST_ARGS)

sweep: .venv/.installed-dev  ## random programs by the thousand, some of them compiled (more than an hour)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m sweep $(PYTEST_ARGS)

# mypy does not see through an editable install whose package is the repository root: it is shown a link.
check: .venv/.installed-dev  ## ruff (lint and format) and mypy --strict
	@mkdir -p build/typing && ln -sfn ../.. build/typing/adjit
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	MYPYPATH=build/typing $(BIN)/mypy -p adjit || status=1; \
	exit $$status

format: .venv/.installed-dev  ## rewrite what `make check` would complain about, where that is mechanical
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.installed-dev  ## time the benchmark programs
	$(BIN)/python -m adjit bench

clean:               ## remove what the other targets made
	rm -rf .venv build dist out adjit.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
