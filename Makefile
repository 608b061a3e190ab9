# Everything a fresh clone needs is set up in .venv when it is first needed.
# Python 3.11 or later and make suffice; uv is used where it is installed.

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV := $(shell command -v uv 2>/dev/null)
STAMPS := $(VENV)/.stamps

# One more than the processors that continuous integration has: tests of whole planes wait for a
# quarter of their time. Which tests stay together in one process: tests/conftest.py.
WORKERS ?= 3
PYTEST_ARGS ?=
SECONDS ?= 60
LOCK_ARGS ?=
EXAMPLE := examples/nyc_flights

# A later pip reads dependency groups; the one that comes with Python 3.11 does not.
ifeq ($(UV),)
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
else
INSTALL := VIRTUAL_ENV=$(abspath $(VENV)) $(UV) pip install --quiet
endif

.DEFAULT_GOAL := help
.PHONY: help demo dev test check format bench simulate fuzz docs lock clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMPS)/examples ## Run the flights example from end to end
	$(PY) $(EXAMPLE)/demo.py

dev: $(STAMPS)/examples ## Serve a plane for the flights example and follow its code
	$(VENV)/bin/arco-flow dev -C $(EXAMPLE)

test: $(STAMPS)/test ## Run all tests
	$(PY) -m pytest -n $(WORKERS) $(PYTEST_ARGS)

check: $(STAMPS)/test $(STAMPS)/lint ## Check style, types, layers, house limits, dead code
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo
	$(PY) -m pytest -q tests/architecture/test_house_limits.py tests/architecture/test_tidy.py
	PYTHONPATH=tests $(PY) -m architecture.dead_code

format: $(STAMPS)/lint ## Format the code and mend what can be mended by itself
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(STAMPS)/test ## Measure; prints one JSON object per benchmark
	@set -e; for script in bench/bench_*.py; do $(PY) "$$script"; done

simulate: $(STAMPS)/test ## Simulate fresh seeds with all faults for SECONDS (default 60)
	$(VENV)/bin/arco-flow simulate --seconds $(SECONDS)

fuzz: $(STAMPS)/test ## Ask the REST API by its description, with fresh seeds, for SECONDS
	PYTHONPATH=shared:emulators $(PY) tests/http/described.py $(SECONDS)

docs: $(STAMPS)/test ## Write the generated pages anew
	$(PY) docs/generate_state_machines.py

# Pins stay as they are unless the bounds in pyproject.toml have moved: LOCK_ARGS=--upgrade takes
# the newest, LOCK_ARGS='--upgrade-package grpcio' that of one.
lock: $(STAMPS)/lock ## Pin what the image of the functions installs, with hashes
	$(VENV)/bin/uv pip compile --quiet pyproject.toml --extra gcp --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --python-version 3.11 --python-platform linux \
	  --custom-compile-command 'make lock' $(LOCK_ARGS) -o functions/requirements.lock > /dev/null

clean: ## Remove what the other targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find shared emulators tests examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
ifeq ($(UV),)
	$(PYTHON) -m venv $(VENV)
else
	$(UV) venv --quiet --python '>=3.11' $(VENV)
endif

$(STAMPS)/base: $(VENV)/pyvenv.cfg
	@mkdir -p $(STAMPS)
ifeq ($(UV),)
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
endif
	@touch $@

$(STAMPS)/test: pyproject.toml $(STAMPS)/base
	$(INSTALL) --editable . --editable ./emulators --group test
	@touch $@

$(STAMPS)/lint: pyproject.toml $(STAMPS)/base
	$(INSTALL) --group lint
	@touch $@

$(STAMPS)/lock: pyproject.toml $(STAMPS)/base
	$(INSTALL) --group lock
	@touch $@

$(STAMPS)/examples: pyproject.toml $(STAMPS)/base
	$(INSTALL) --editable '.[examples]'
	@touch $@
