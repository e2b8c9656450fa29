# Every target runs in .venv, which is made when it is missing or older than what it is made from.
# Needs Python 3.11 or newer and make, nothing else. Another interpreter: make PYTHON=/path/to/python test
PYTHON ?= $(or $(shell command -v python3.11),python3)
BIN := .venv/bin
MADE := .venv/made

.PHONY: demo test test-fast test-machines trials lint audit docs format bench help

help:
	@echo "make demo           load MovieLens 100K, train, recommend to four kinds of users"
	@echo "make test           all tests"
	@echo "make test-fast      those that need no Neo4j server and take no longer than about a second each"
	@echo "make test-machines  those that compute, with one thread and two, in fp32 and in bf16"
	@echo "make trials         layouts that people get catalogues in, from inspect to recommendations"
	@echo "make lint           ruff, mypy, the import direction"
	@echo "make audit          known vulnerabilities of what is installed"
	@echo "make docs           the pages of docs/ with the API reference, into build/docs"
	@echo "make format         mends what ruff can mend"
	@echo "make bench          measures quality, speed and memory (takes long; see CONTRIBUTING.md)"

demo: $(MADE)
	@$(BIN)/python scripts/demo.py

PROCESSES := $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -gt 4 ] && n=4; [ $$n -lt 2 ] && n=2; echo $$n)

# Two processes or more, by the cores, each with a Neo4j server of its own; a server that is given cannot be shared. Files go by their names:
# those with few tests are the slow ones, and would be last otherwise, one process waiting for the other.
test: $(MADE)
	@$(BIN)/python -m pytest $(if $(KGREC_TEST_NEO4J_URI),,-n $(PROCESSES) --dist loadfile --no-loadscope-reorder)

test-fast: $(MADE)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not server and not slow"

# tests/conftest.py makes tests compute in fp32 on one thread unless OMP_NUM_THREADS and KGREC_TEST_BF16 are set.
test-machines: $(MADE)
	@for threads in 1 2; do for bf16 in 0 1; do \
		echo "OMP_NUM_THREADS=$$threads KGREC_TEST_BF16=$$bf16"; \
		OMP_NUM_THREADS=$$threads KGREC_TEST_BF16=$$bf16 $(BIN)/python -m pytest -q \
			tests/unit/adapt tests/unit/model tests/unit/text tests/unit/training || exit 1; \
	done; done

trials: $(MADE)
	@$(BIN)/python scripts/trials.py

lint: $(MADE)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

audit: $(MADE)
	@$(BIN)/python scripts/weaknesses.py

docs: $(MADE)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

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
