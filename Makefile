# Needs Python 3.11 or newer, Go 1.26 or newer, make and git; everything else is set up in .venv.
#   make demo          see it work on a real control plane (KEEP=1 leaves it running)
#   make test          all tests; builds the control plane the first time, which takes minutes
#   make check         style, types, layers
#   make audit         dependencies: all known, none with a known vulnerability

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: help tools setup playground demo test unit lint types imports check audit bench format clean

help:
	@sed -n 's/^#   //p' Makefile

tools:
	@PYTHON="$(PYTHON)" .ci/tools

setup: $(STAMP)

# The development group is read from pyproject.toml, since an older pip does not know groups.
$(STAMP): pyproject.toml kroasync/__init__.py | tools
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' \
	  > $(VENV)/development.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar off \
	  --editable . --requirement $(VENV)/development.txt
	@touch $(STAMP)

# The programs of the control plane, built once into the user's cache.
playground: $(STAMP)
	@$(BIN)/kroasync playground build etcd kube-apiserver kube-controller-manager kube-scheduler \
	  kwok kubectl helm > /dev/null

demo: playground
	@$(BIN)/python examples/demo.py $(if $(filter 1 y yes true,$(KEEP)),--keep)

test: playground
	@$(BIN)/python -m pytest $(ARGS)

unit: $(STAMP)
	@$(BIN)/python -m pytest $(or $(ARGS),tests/unit)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/lint-imports

check: lint types imports

audit: $(STAMP)
	@$(BIN)/python .ci/audit.py

bench: playground
	@$(BIN)/python -m tests.benchmarks $(ARGS)

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# What was built for the playground stays in the user's cache: `kroasync playground clean` removes it.
clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .demo dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
