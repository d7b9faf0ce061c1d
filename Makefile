# qianmian: the two commands a newcomer needs are `make demo` and `make test`.
# ARGS are passed on: make demo ARGS=--exit, make test ARGS='-k splits', make bench ARGS=--help.

SHELL := /bin/bash
VENV ?= .venv
LOCK ?= dev
ARGS ?=

# Where Python is told not to keep what it compiled, every command would compile PyTorch anew.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
QIANMIAN := $(BIN)/qianmian

.PHONY: help env demo test lint test-slow serve bench locks clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile | while IFS=: read -r name text; do printf '  make %-10s%s\n' "$$name" "$$text"; done

env: ## make .venv from the lock (quick when it is already there)
	@VENV=$(VENV) requirements/install.sh $(LOCK)

# The whole product, from real shopping data to a page of the venue that differs by shopper.
demo: env ## the whole journey on real data, then the venue page (ARGS=--exit ends after printing)
	$(QIANMIAN) data import complete-journey
	$(QIANMIAN) features build --profile quick
	$(QIANMIAN) train --profile quick
	$(QIANMIAN) release promote latest
	$(QIANMIAN) demo $(ARGS)

test: env lint ## lint, types, import rules and the default tests
	$(BIN)/pytest $(ARGS)

lint: env ## ruff, mypy and import-linter, every fault of each
	@failed=; \
	$(BIN)/ruff check --quiet --output-format concise || failed=1; \
	$(BIN)/ruff format --check --quiet --output-format concise || failed=1; \
	$(BIN)/mypy --no-error-summary || failed=1; \
	$(BIN)/lint-imports --no-logo >$(VENV)/lint-imports.log 2>&1 || { cat $(VENV)/lint-imports.log; failed=1; }; \
	if [[ $$failed ]]; then echo 'lint: faults found, see above' >&2; exit 1; fi; \
	echo 'lint: clean (ruff, format, mypy, import rules)'

test-slow: env ## the slow and integration tests too
	$(BIN)/pytest -m 'not browser' --timeout 1800 $(ARGS)

serve: env ## start the service on the live release
	$(QIANMIAN) serve $(ARGS)

bench: env ## the serving benchmark
	$(BIN)/python -m benchmarks.serving $(ARGS)

COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --custom-compile-command 'make locks' \
	--annotation-style line --python-version 3.11 --python-platform x86_64-manylinux_2_28

locks: env ## resolve the locks anew from pyproject.toml (ARGS=--upgrade moves the pins)
	$(COMPILE) $(ARGS) --extra train-cpu --extra tune --extra demo --extra redis --group dev -o requirements/dev.txt
	$(COMPILE) --extra train-cpu --extra tune --extra demo --extra redis -c requirements/dev.txt -o requirements/cpu.txt
	$(COMPILE) --extra redis -c requirements/dev.txt -o requirements/serve.txt
	$(COMPILE) --no-config --extra train-gpu --extra tune --extra demo --extra redis -c requirements/dev.txt --no-emit-package onnxruntime -o requirements/gpu.txt

clean: ## remove the environment and the tools' caches (var/, the data, stays)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
