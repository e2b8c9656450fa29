# Every target runs in .venv, which is made when it is missing or older than what it is made from.
# Needs Python 3.11 or newer and make, nothing else. Another interpreter: make PYTHON=/path/to/python test
PYTHON ?= $(or $(shell command -v python3.11),python3)
BIN := .venv/bin
MADE := .venv/made

.PHONY: demo test lint format bench help

help:
	@echo "make demo    load MovieLens 100K, train, recommend to four kinds of users"
	@echo "make test    the tests"
	@echo "make lint    ruff, mypy, the import direction"
	@echo "make format  mends what ruff can mend"
	@echo "make bench   measures quality, speed and memory (takes long; see CONTRIBUTING.md)"

demo: $(MADE)
	@$(BIN)/python scripts/demo.py

# One thread each: the tests' matrices are tiny, and threads that wait for each other are slower than none.
# Two processes, each with a Neo4j server of its own; a server that is given cannot be shared. Files go by their names:
# those with few tests are the slow ones, and would be last otherwise, one process waiting for the other.
test: $(MADE)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest $(if $(KGREC_TEST_NEO4J_URI),,-n 2 --dist loadfile --no-loadscope-reorder)

lint: $(MADE)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(MADE)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(MADE)
	@$(BIN)/python scripts/benchmarks/quality.py
	@$(BIN)/python scripts/benchmarks/speed.py
	@$(BIN)/python scripts/benchmarks/memory.py

$(MADE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kgrec needs Python 3.11 or newer, got " + sys.version.split()[0] + ": name one, as in make PYTHON=python3.12 test")'
	@echo "Installing into .venv (a few minutes the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
