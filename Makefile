# Two commands on a fresh machine: `make demo`, `make test`. Everything installs into .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# make dev PORT=3001 REPOSIGNAL_HOME=/somewhere/else
export REPOSIGNAL_HOME ?= $(CURDIR)/data/home
PORT ?= 3000

.PHONY: demo lake dev test lint types bench backtest docs requirements clean

# make demo PROFILE=lake, with REPOSIGNAL_LAKE_CATALOG and REPOSIGNAL_LAKE_DATA set
PROFILE ?= demo
demo: $(VENV)/.installed$(if $(filter lake,$(PROFILE)),-lake)
	$(BIN)/reposignal demo $(if $(filter lake,$(PROFILE)),--lake)

lake: $(VENV)/.installed-lake
	$(BIN)/reposignal lake init

dev: $(VENV)/.installed
	$(BIN)/python -m reposignal_pipeline.home
	DAGSTER_HOME="$(abspath $(REPOSIGNAL_HOME))/dagster" PATH="$(CURDIR)/$(BIN):$$PATH" \
		dagster dev --workspace workspace.yaml --host 127.0.0.1 --port $(PORT)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint dbt_project

types: $(VENV)/.installed-dev
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

backtest: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.backtest

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/data_dictionary.py

# Pins are made without addresses of indexes: they hold wherever the packages come from.
requirements:
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		pyproject.toml -o requirements.txt
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		pyproject.toml --extra lake -c requirements.txt -o requirements-lake.txt
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		pyproject.toml --extra lake --group dev -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(VENV)/.installed-lake: $(VENV)/.installed requirements-lake.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-lake.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@# what the browser tests judge pages with; without npm they are skipped and say so
	if command -v npm > /dev/null; then npm install --silent --prefix $(VENV)/axe --no-save --no-package-lock axe-core@4.14.1; fi
	touch $@
