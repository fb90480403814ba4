# On a fresh machine, `make demo` or `make test` is all it takes: both make .venv themselves.
# Windows, or no make: see "Install" in the README.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt

# Packages are installed without bytecode, which saves half a minute; where it is never written, each start of Python
# would compile torch anew, for seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test mutants faults check format docs zoo clean

demo: $(VENV)/.core
	$(BIN)/gansmith demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

mutants: $(VENV)/.dev
	$(BIN)/python tests/mutants.py $(MUTANTS)

faults: $(VENV)/.dev
	$(BIN)/python tests/faults $(FAULTS)

docs: $(VENV)/.dev
	$(PIP) --editable '.[docs]'
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/site.py
	$(BIN)/zensical build --clean --strict

zoo: $(VENV)/.core
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist ./zoo
	$(BIN)/python zoo/archives.py dist/zoo

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'gansmith needs Python 3.11 or later; try: make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.core: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) --editable '.[mp4]' --editable ./zoo
	touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]' --editable ./zoo
	touch $(VENV)/.core $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
