# make run   the station on its simulated line: the desktop, or without a display the terminal
# make test  format, lint, types, house rules and all tests, on two cores
# make bench the figures that users feel, written to docs/performance.md
# make study slow studies of precision and coverage
# make lint  the part of `make test` that runs no code
# Each does its own set-up in .venv; nothing but Python 3.11 or newer is needed.

SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test bench study lint clean

run: $(VENV)/.run
	@$(BIN)/tessera run $(ARGS) || [ $$? -eq 3 ]  # 3: done, but a module is not good

test: lint
	@$(BIN)/pytest -n 2 --dist loadscope $(ARGS)

lint: $(VENV)/.test
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	@$(BIN)/python -m tests.bench.table $(ARGS)

study: $(VENV)/.test
	@$(BIN)/pytest -m study --timeout 3600 $(ARGS)

clean:
	rm -rf $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Tessera in $(VENV) (once; a few minutes)"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Tessera and its test tools in $(VENV) (once; a few minutes)"
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.run

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
		echo "Tessera needs Python 3.11 or newer; $$($(PYTHON) --version) is too old." >&2
		echo "Name another one: make run PYTHON=python3.12" >&2
		exit 1
	}
	$(PYTHON) -m venv $(VENV) || {
		echo "Python's venv module is missing: apt install python3-venv" >&2
		rm -rf $(VENV)
		exit 1
	}
