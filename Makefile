# The environment is made anew whenever the lock or the package's own settings change.
VENV = .venv
BIN = $(VENV)/bin
PYTHONS = python3 python3.14 python3.13 python3.12 python3.11
IS_NEW_ENOUGH = -c 'import sys; sys.exit(sys.version_info < (3, 11))'
# The first of them that runs and is new enough; looked for where it is needed only.
PYTHON = $(firstword $(foreach python,$(PYTHONS),$(shell $(python) $(IS_NEW_ENOUGH) 2>/dev/null && echo $(python))))
COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# What builds the wheel, or what an extra adds.
REQUIRES = 'import sys, tomllib; of = tomllib.load(open("pyproject.toml", "rb")); name = sys.argv[1]; \
	print(*({"build": of["build-system"]["requires"]} | of["project"]["optional-dependencies"])[name], sep="\n")'

help:  ## what each target does
	@awk -F ':.*  ## ' '/^[a-z]+:.*  ## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/made  ## the service with a simulated fleet, until Ctrl-C
	$(BIN)/harbor-api demo

# Each worker gets tests that stand together, so that what a file shares is made once. With T in one process: a few
# tests take longer to start in several than to run.
test: $(VENV)/made  ## all tests, or those of T: T=tests/web/test_arguments.py, T='-k name'
	$(BIN)/pytest $(or $(T),-n auto --dist worksteal)

quick: $(VENV)/made  ## all tests but those with processes, a browser or node, and the heavy and slow ones
	$(BIN)/pytest -n auto --dist worksteal -m "not process and not browser and not node and not heavy and not slow"

neighbours: $(VENV)/made  ## what honest callers notice of others who do their worst; ARGS=--help
	$(BIN)/python -m tests.neighbours $(ARGS)

faults: $(VENV)/made  ## what callers notice when something breaks or is replaced; ARGS=--help
	$(BIN)/python -m tests.faults $(ARGS)

hosts: $(VENV)/made  ## two hosts as one service, and what callers notice when a part of it breaks; ARGS=--help
	$(BIN)/python -m tests.hosts $(ARGS)

soak: $(VENV)/made  ## half an hour at half of what the machine can do, and what grows or goes wrong; ARGS=--help
	$(BIN)/python -m tests.soak $(ARGS)

lint: $(VENV)/made  ## Ruff and mypy, as CI and the pre-commit hook run them
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

audit: $(VENV)/made  ## known weaknesses of what the lock file names
	$(BIN)/pip-audit -r requirements.txt --require-hashes --no-deps --disable-pip

openapi: $(VENV)/made  ## the OpenAPI document and its 3.0.3 twin, written anew
	$(BIN)/harbor-api openapi openapi

lock: $(VENV)/made  ## the lock files, made anew from pyproject.toml
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) --extra dev pyproject.toml -o requirements-dev.txt
	$(BIN)/python -c $(REQUIRES) build | $(COMPILE) -c requirements.txt - -o deploy/requirements/build.txt
	$(BIN)/python -c $(REQUIRES) traces | $(COMPILE) -c requirements.txt - -o deploy/requirements/traces.txt
	$(BIN)/python -c $(REQUIRES) sentry | $(COMPILE) -c requirements.txt - -o deploy/requirements/sentry.txt

$(VENV)/made: requirements-dev.txt pyproject.toml
	@$(BIN)/python $(IS_NEW_ENOUGH) 2>/dev/null && test -x $(BIN)/pip || $(MAKE) --no-print-directory environment
	@echo "Installing what requirements-dev.txt names into $(VENV): a minute or two, the first time."
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

environment:
	@test -n "$(PYTHON)" || { echo "Harbor API needs Python 3.11 or newer. Looked for: $(PYTHONS)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt install \
	$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)."
	$(PYTHON) -m venv --clear $(VENV)

.PHONY: help demo test quick neighbours faults hosts soak lint audit openapi lock environment
