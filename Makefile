# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
FITS := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do $$name -c '$(FITS)' 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin

.PHONY: demo test types tests clean

demo: .venv/installed
	$(BIN)/python -m pipeline demo

test: .venv/checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(MAKE) --no-print-directory --jobs 2 types tests    # the types are checked while the first tests wait for processes

types: .venv/checks
	$(BIN)/lint-imports
	$(BIN)/mypy

tests: .venv/checks    # some hundred processes are started, and each would compile what it imports where no bytecode is written
	@$(BIN)/python -m compileall -q infra ingest trainers tune pipeline tests
	$(BIN)/python -m pytest -m "not slow and not gpu and not fault"

INSTALL = $(BIN)/python -m pip install --quiet --constraint requirements.lock --no-build-isolation --editable

.venv/bin/python:
	@$(or $(PYTHON),false) -c '$(FITS)' || { echo "Reelscript needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools

.venv/installed: pyproject.toml requirements.lock | .venv/bin/python
	$(INSTALL) .
	@touch $@

.venv/checks: pyproject.toml requirements.lock | .venv/bin/python
	$(INSTALL) '.[dev]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv outputs
