# Everything a developer types; `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check fix bench soak ceph lock clean

VENV ?= .venv
BIN := $(VENV)/bin
DIR ?= demo
ONLY ?=
TESTS ?=
CEPH_TESTS := tests/contract/test_objectstore_contract.py tests/contract/test_objectstore_locking_contract.py \
	tests/unit/objectstore/test_objectstore_s3.py tests/integration/test_cli_s3.py \
	tests/integration/test_cli_s3_bad_input.py tests/integration/test_cli_locks.py \
	tests/integration/test_cli_writers.py tests/integration/test_cli_key_store_away.py

# A stamp is named after all that decides what is installed: the locks, the project file, the folder (an editable
# install points into it). Change one of them and the next target installs again.
KEY := $(shell { cat pyproject.toml requirements/*.txt; echo '$(CURDIR)'; } | sha256sum | cut -c1-16)
RUNTIME := $(VENV)/.runtime-$(KEY)
DEV := $(VENV)/.dev-$(KEY)

COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --strip-extras --allow-unsafe $(UPGRADE)

help:
	@echo "make demo              try Tenure on a sample contact centre in ./demo (DIR=folder for another place)"
	@echo "make test              run the tests (TESTS=path for some of them)"
	@echo "make check             lint, format, types, architecture, size limits"
	@echo "make fix               format, and mend what the linter can mend"
	@echo "make bench             compare with restic on the same files (ONLY=recordings|small|restore|sqlite|s3|forget|erase|cohort|index|rotate|years for one)"
	@echo "make soak              random operations, killed at random, for SOAK_SECONDS (300), against a model"
	@echo "make ceph              the tests on S3 once more, on Ceph's RADOS Gateway"
	@echo "make lock              write requirements/*.txt anew (UPGRADE=--upgrade for newer versions)"
	@echo "make clean             remove what these targets made"

$(RUNTIME):
	@.ci/environment $(VENV) runtime
	@touch $@

$(DEV):
	@.ci/environment $(VENV) dev
	@touch $@ $(RUNTIME)

demo: $(RUNTIME)
	@$(BIN)/tenure demo $(DIR)

test: $(DEV)
	@$(BIN)/pytest -q -n 2 $(TESTS)

check: $(DEV)
	@echo "lint";         $(BIN)/ruff check --quiet .
	@echo "format";       $(BIN)/ruff format --quiet --check . || { echo "run 'make fix'" >&2; exit 1; }
	@echo "types";        $(BIN)/mypy --no-error-summary
	@echo "architecture"; $(BIN)/lint-imports > $(VENV)/lint-imports.txt 2>&1 || { cat $(VENV)/lint-imports.txt; exit 1; }
	@echo "limits";       $(BIN)/pytest -q --no-header tests/unit/architecture > $(VENV)/limits.txt 2>&1 || { cat $(VENV)/limits.txt; exit 1; }

fix: $(DEV)
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

bench: $(DEV)
	@$(BIN)/python -m benchmarks.harness $(ONLY)

soak: $(DEV)
	@PYTHONPATH=tests $(BIN)/python tests/soak/soak.py

ceph: $(DEV)
	@.ci/ceph
	@S3_SERVER=ceph $(BIN)/python -m pytest -n 2 $(CEPH_TESTS)

lock: $(DEV)
	@$(COMPILE) --output-file=requirements/runtime.txt pyproject.toml
	@$(COMPILE) --output-file=requirements/dev.txt requirements/dev.in
	@$(COMPILE) --output-file=requirements/build.txt requirements/build.in
	@echo "requirements/*.txt written; the next target installs them"

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist bench-data demo
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
