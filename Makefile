# The only task runner. Every target sets up what it needs and does nothing when that is already there.

PYTHON ?= python3
# Holds uv and the Temporal dev server, once per machine.
ORCHESTRATOR_CACHE_DIR ?= $(HOME)/.cache/durable-orchestrator
export ORCHESTRATOR_CACHE_DIR

UV_HOME := $(ORCHESTRATOR_CACHE_DIR)/uv
UV := $(UV_HOME)/bin/uv
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

PACKAGES := activities adapters api bench bootstrap domain tests workflows worker.py

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check bench bench-routing faults cluster clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## prepare everything, start nothing: .venv, locked dependencies, Temporal dev server
	@$(BIN)/python -m compileall -q $(PACKAGES) # processes start in half the time, also where Python keeps no cache itself
	@$(BIN)/python -m bootstrap.devserver.find

demo: setup ## three real runs over HTTP, then a worker killed in mid-stream
	@$(BIN)/orchestrator demo

up: setup ## serve until Ctrl-C: API, worker, Temporal dev server and its UI
	@$(BIN)/orchestrator up

# What failed beside the others is tried once more, alone and in sight: on a busy machine a test may starve.
AGAIN = echo "==> these failed; each gets one more try, alone" && \
  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --cov --cov-append --cov-report=

# Two cores are busy with three: a test waits for a quarter of its time.
TESTERS ?= 3

# Python's own cache and that of pytest's assertions are kept, also where the machine says otherwise.
test faults: export PYTHONDONTWRITEBYTECODE =

test: setup ## every test but the heavy loops, TESTERS at a time; coverage: 95 % overall, 100 % domain
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n $(TESTERS) --cov --cov-report= $(ARGS) || { $(AGAIN); }
	$(BIN)/coverage report --fail-under=95
	$(BIN)/coverage report --include='domain/*' --fail-under=100

check: $(READY) ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## measure against the bars; prints ratios, exits 1 when a must fails
	@$(BIN)/python -m bench $(ARGS)

bench-routing: $(READY) ## choices of agents and models against their bars; ROUTING_DATA names the recorded data
	@$(BIN)/python -m bench.routing $(ARGS)

faults: setup ## the fault table at full durations, the seeded loops, laws tried with more examples
	EXAMPLES=500 $(BIN)/python -m pytest -m "heavy or not heavy" tests/unit tests/faults tests/contract/test_agent_streams.py tests/contract/test_openapi.py \
	  tests/workflows/test_approvals.py $(ARGS)

cluster: $(READY) ## the production roles as processes on PostgreSQL; CMD="..." runs against them, then all stops
	@$(BIN)/python -m bootstrap.cluster $(CMD)

clean: ## remove the environment and tool caches; data and the machine-wide cache stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov

# uv from the package index, in a small environment of its own.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3"; exit 1; }
	@echo "==> installing uv (once per machine)"
	@mkdir -p $(ORCHESTRATOR_CACHE_DIR)
	@$(PYTHON) -m venv --clear $(UV_HOME)
	@$(UV_HOME)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14'

$(READY): uv.lock pyproject.toml | $(UV)
	@echo "==> installing the locked dependencies into $(VENV)"
	@UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) sync --frozen --all-extras --compile-bytecode --python $(PYTHON) || \
	  { echo "The locked dependencies could not be installed; the lines above say why."; exit 1; }
	@touch $@
