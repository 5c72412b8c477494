# Needs Python 3.11 or newer, Go 1.26 or newer, make and git; the rest is set up in .venv, in the
# versions of requirements/development.txt, or with NEWEST=1 in the newest that pyproject.toml allows.
#   make demo          see it work on a real control plane (KEEP=1 leaves it running)
#   make test          all tests; builds the control plane the first time, which takes minutes
#   make check         style, types, layers, spelling, and that what is generated and locked is current
#   make generate      the pages and tables that modules print
#   make coverage      how much of the package the unit tests run
#   make audit         dependencies: all known, none with a known vulnerability
#   make dist          wheel and source archive, in dist/
#   make lock          requirements/*.txt from pyproject.toml (UPGRADE=1 takes the newest versions)

PYTHON ?= python3
# NEWEST=1, with any target: instead of the lock, the newest versions that pyproject.toml allows, in a folder of its own.
UNLOCKED := $(filter 1 y yes true,$(NEWEST))
VENV := .venv$(if $(UNLOCKED),-newest)
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar off
STAMP := $(VENV)/.stamp

.PHONY: help tools setup playground demo test unit lint types imports check spelling generate generated \
  coverage audit lock locked dist bench format clean

help:
	@sed -n 's/^#   //p' Makefile

tools:
	@PYTHON="$(PYTHON)" .ci/tools

setup: $(STAMP)

# Installs nothing but what is locked: the build backend is in the lock, too.
ifeq ($(UNLOCKED),)
$(STAMP): requirements/development.txt pyproject.toml kroasync/__init__.py | tools
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes --requirement requirements/development.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
else
.PHONY: $(STAMP)
$(STAMP): | tools
	@echo "setting up $(VENV) with the newest versions that pyproject.toml allows"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@$(PIP) --upgrade --upgrade-strategy eager --editable . --group build --group dev
endif

# Keeps the locked versions that are still allowed; UPGRADE=1 takes the newest.
lock: $(STAMP)
	@$(BIN)/python .ci/lock.py make $(if $(filter 1 y yes true,$(UPGRADE)),--upgrade)

locked: $(STAMP)
	@$(BIN)/python .ci/lock.py check

# The programs of the control plane, built once into the user's cache.
playground: $(STAMP)
	@$(BIN)/kroasync playground build etcd kube-apiserver kube-controller-manager kube-scheduler \
	  kwok kubectl helm > /dev/null

demo: playground
	@$(BIN)/python examples/demo.py $(if $(filter 1 y yes true,$(KEEP)),--keep)

# In two processes: one waits for control planes, the other computes.
test: playground
	@$(BIN)/python -m pytest -n 2 $(ARGS)

unit: $(STAMP)
	@$(BIN)/python -m pytest $(or $(ARGS),tests/unit)

# Fails when the unit tests run less of the package than the floor in pyproject.toml.
coverage: $(STAMP)
	@$(BIN)/python -m pytest --cov --cov-report=term --cov-report=xml tests/unit

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/lint-imports

# Tests write mistakes on purpose, in quotes.
spelling: $(STAMP)
	@$(BIN)/codespell README.md SECURITY.md Dockerfile Makefile pyproject.toml .ci .github charts docs examples kroasync
	@$(BIN)/codespell --ignore-regex "\"[^\"]*\"|'[^']*'" tests

# The files that modules of kroasync print.
generate: $(STAMP)
	@$(BIN)/python .ci/generate.py

generated: $(STAMP)
	@$(BIN)/python .ci/generate.py --check

check: lint types imports spelling generated locked

audit: $(STAMP)
	@$(BIN)/python .ci/audit.py

# Wheel and source archive, built with what is locked.
dist: $(STAMP)
	@rm -rf dist
	@$(BIN)/hatchling build

bench: playground
	@$(BIN)/python -m tests.benchmarks $(ARGS)

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# What was built for the playground stays in the user's cache: `kroasync playground clean` removes it.
clean:
	rm -rf .venv .venv-newest .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
	  .coverage coverage.xml .demo dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
