# Everything a checkout needs: `make run` and `make test` work on a fresh machine with Python >= 3.11 and make.
# Stamp files in .venv make a second run fast; `rm -rf .venv` starts over.

# The first interpreter that is new enough, unless PYTHON names one.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
UNIT := tests/unit
SOURCES := agent server tests client hatch_build.py $(wildcard alembic bench)
# Node and npm, wherever they come from.
NPM := $(BIN)/python client/npm.py

.PHONY: help install ui run test check format bench fuzz simulate mutants chaos clean
.DEFAULT_GOAL := help

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Curta needs Python 3.11 or later, and finds none. Install one, or say: make PYTHON=/path/to/python3" >&2; \
		exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$(PYTHON) cannot make virtual environments: its modules venv and ensurepip are missing." >&2; \
		echo "On Debian and Ubuntu: apt-get install python3-venv. Then run make again." >&2; \
		exit 1; fi
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[server,embedded,dev]'
	@touch $@

# What only the benchmark needs: drawings and a profiler.
$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[server,embedded,dev,bench]'
	@touch $@

install: ui ## Make .venv with everything; leaves .venv/bin/curta

# What a browser gets. Built anew when its sources have changed; an editable install does not see to that.
ui: $(STAMP)
	@$(NPM) build

run: ui ## Start everything on this machine: database, orchestrator, agents (ARGS='--agents 4' for flags)
	@$(BIN)/curta up $(ARGS)

check: $(STAMP) ## Lint, format, types, import contracts, of Python and of the client
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	PYTHONPATH=agent:server $(BIN)/lint-imports
	$(NPM) run check

# Unit tests share nothing and run side by side; the others start databases and measure time, so they run alone.
test: check ui $(BENCH_STAMP) ## Every check and every test
	$(NPM) run test
	$(BIN)/python -m pytest $(UNIT) -n 2 --dist loadfile $(ARGS)
	$(BIN)/python -m pytest tests --ignore=$(UNIT) $(ARGS)

format: $(STAMP) ## Bring the code into form
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(NPM) run format

bench: $(BENCH_STAMP) ## The figures of this machine, peers beside (QUICK=1: without, 2 minutes; AGAINST=earlier.json; ARGS='trees peers')
	$(BIN)/python -m bench $(if $(QUICK),--quick) $(if $(AGAINST),--against '$(AGAINST)') $(ARGS)

fuzz: $(STAMP) ## Millions of random texts and frames
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests/fuzz --timeout=0 $(ARGS)

simulate: $(STAMP) ## Seeded histories of the whole system (SEEDS=10000; SEED=7 replays one)
	PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000)) $(ARGS)

mutants: $(STAMP) ## Break each promise on purpose, and see the simulation catch it (ARGS=name for one)
	PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation.mutants $(ARGS)

chaos: $(STAMP) ## Kill, freeze and cut real processes under load (MINUTES=10; SEED=7 for the faults of one run)
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(ARGS)

clean: ## Remove what the tools made; .curta, the data of `make run`, stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	rm -rf client/node_modules server/curta_server/ui
