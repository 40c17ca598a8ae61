# Each target is a line or two; what a target needs is installed into .venv first.
PYTHON ?= python3
BIN := .venv/bin
# Not PORT, which is a setting of the gateway: make would hand its own value on to `run`.
DEMO_PORT := 8000

.PHONY: demo run test check bench bench-quick install vocabularies lock clean

demo: vocabularies
	$(BIN)/copilotapi demo --port $(DEMO_PORT)

run: .venv/installed
	$(BIN)/gunicorn -c gunicorn.conf.py wsgi:app

test: .venv/installed-dev vocabularies
	$(BIN)/python -m pytest

check: .venv/installed-dev
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/deptry copilotapi

# CPU, memory and delay beside other gateways, about 25 minutes; writes docs/benchmarks.md.
bench: .venv/installed-dev vocabularies
	$(BIN)/python -m bench --write

bench-quick: .venv/installed-dev vocabularies
	$(BIN)/python -m bench --quick

install: .venv/installed

# Without the files token estimates are rougher; nothing else needs them, so that a failure here stops nothing.
vocabularies: .venv/installed
	@$(BIN)/copilotapi vocabularies --optional --folder .cache/tiktoken

# For maintainers: exact pins with hashes, from the ranges.
lock: .venv/installed-dev
	for name in requirements requirements-dev; do $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --python-version 3.11 $$name.txt --output-file $$name.lock; done

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

clean:
	rm -rf .venv .cache build *.egg-info
