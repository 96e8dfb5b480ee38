# A machine with Python >= 3.11, make and git is enough. Everything else is installed into the checkout (.venv,
# node_modules, .cache), except browsers and their libraries. CONTRIBUTING.md says what goes where.

PYTHON ?= python3
PORT ?= 8000
DIST ?= dist
SEEDS ?= 1000

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
WHEELS := .cache/wheels
# As many at a time as there are processors, four at most, file by file and in order: asyncio's tests must come before Playwright's in every process.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
TEST_WHEELS := .cache/test-wheels
# A machine without npm gets it from requirements/node.txt, into $(BIN).
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup build serve lint test test-long simulate bench browsers databases lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: $(STAMPS)/runtime $(STAMPS)/browser-wheels node_modules/.package-lock.json ## all that a build needs

build: setup ## the app as files to serve, in ./dist
	$(BIN)/holdfast build --out $(DIST)

serve: build ## app and API at http://localhost:8000, or at $PORT
	$(BIN)/holdfast serve --port $(PORT) --dist $(DIST)

lint: $(STAMPS)/dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup browsers databases lint build ## everything: linters, types, unit tests, real browsers
	$(PYTEST) $(ARGS)

test-long: setup browsers databases lint build ## the same suites at full figures
	HOLDFAST_LONG=1 $(PYTEST) $(ARGS)

simulate: $(STAMPS)/dev ## $SEEDS hostile days in simulation, or the one of $SEED told in full
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),$(SEEDS))

bench: setup browsers databases ## the budgets, all sides of each in one run, into docs/benchmarks.md; QUICK=1 for a table only
	$(BIN)/python -m pytest tests/bench $(ARGS)
	$(if $(QUICK)$(ARGS),,$(BIN)/python -m tests.bench.report)

browsers: $(STAMPS)/browsers $(STAMPS)/test-wheels

databases:
	@sh .ci/databases.sh

lock: $(STAMPS)/runtime ## pin the newest versions that requirements/*.in allow
	$(BIN)/python -m pip install --quiet uv
	cd requirements && for part in runtime dev node; do \
		../$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
			$$part.in -o $$part.txt || exit 1; done
	cd requirements && ../$(BIN)/uv pip compile --quiet --upgrade --python-version 3.14 --generate-hashes --no-header \
		browser.in -o browser.txt
	cd requirements && ../$(BIN)/uv pip compile --quiet --upgrade --python-version 3.14 --generate-hashes --no-header \
		--no-deps browser-test.in -o browser-test.txt

clean: ## remove what make made, except ./data
	rm -rf $(VENV) .cache node_modules $(DIST) .mypy_cache .ruff_cache .pytest_cache test-results

# What follows is done once, and again when a pinned version changes.

$(STAMPS)/venv:
	@PYTHON="$(PYTHON)" sh .ci/venv.sh $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/runtime: requirements/runtime.txt pyproject.toml | $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/runtime
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/dev.txt
	@touch $@

$(STAMPS)/browser-wheels: requirements/browser.txt | $(STAMPS)/venv
	@rm -rf $(WHEELS)
	$(BIN)/python -m pip download --quiet --require-hashes --no-deps --only-binary :all: --python-version 3.14 \
		--dest $(WHEELS) -r requirements/browser.txt
	@touch $@

# Hypothesis has compiled parts, so Pyodide needs a wheel of its own.
$(STAMPS)/test-wheels: requirements/browser-test.txt | $(STAMPS)/venv
	@rm -rf $(TEST_WHEELS)
	$(BIN)/python -m pip download --quiet --require-hashes --no-deps --only-binary :all: --python-version 3.14 \
		--platform pyemscripten_2026_0_wasm32 --dest $(TEST_WHEELS) -r requirements/browser-test.txt
	@touch $@

$(STAMPS)/npm: requirements/node.txt | $(STAMPS)/venv
	@command -v npm >/dev/null \
		|| $(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/node.txt
	@touch $@

# npm writes this file itself, last, and never with a time before the lock's.
node_modules/.package-lock.json: package.json package-lock.json $(STAMPS)/npm
	npm ci --ignore-scripts --loglevel=error
	@touch $@

$(STAMPS)/browsers: .ci/browsers.sh $(STAMPS)/dev
	@sh .ci/browsers.sh $(BIN)/python
	@touch $@
