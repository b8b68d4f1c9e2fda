# The environment is made anew whenever the lock or the package's own settings change.
VENV = .venv
BIN = $(VENV)/bin

demo: $(VENV)/made
	$(BIN)/harbor-api demo

test: $(VENV)/made
	$(BIN)/pytest -n auto

lint: $(VENV)/made
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

neighbours: $(VENV)/made
	$(BIN)/python -m tests.neighbours --seconds 30

audit: $(VENV)/made
	$(BIN)/pip-audit -r requirements.txt --require-hashes --no-deps --disable-pip

openapi: $(VENV)/made
	$(BIN)/harbor-api openapi openapi

lock: $(VENV)/made
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev pyproject.toml -o requirements-dev.txt

$(VENV)/made: requirements-dev.txt pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

.PHONY: demo test lint neighbours audit openapi lock
