# Everything runs in .venv, made by `make env` from constraints.txt. Needs Python 3.10 or newer, make and a C library.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Of `make fuzz`.
FUZZ_SECONDS ?= 3600

.PHONY: help demo env test test-all test-arm fuzz lint types docs wheel clean

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: env ## Train, export, quantise, stream and measure a small network; ends with s2tf-demo/report.html
	$(BIN)/s2tf-demo

env: $(STAMP) ## The virtual environment with all that is needed, pinned

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' -c constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt --group dev -e '.[all]'
	@touch $@

test: env lint types ## Lint, types and the tests that run in minutes
	$(BIN)/pytest -n 2 --dist worksteal -m 'not slow' $(PYTEST_FLAGS)

test-all: env lint types ## The slow tests as well
	$(BIN)/pytest -n 2 --dist worksteal --hypothesis-profile ci

fuzz: env ## Files that somebody else may have made, other ones in each round, for an hour (FUZZ_SECONDS)
	end=$$(($$(date +%s) + $(FUZZ_SECONDS))); while [ "$$(date +%s)" -lt "$$end" ]; do \
	  $(BIN)/pytest -n 2 --dist worksteal --hypothesis-profile fuzz tests/test_untrusted_files.py \
	    tests/test_untrusted_networks.py || exit 1; \
	done

test-arm: env ## The wheel on emulated Arm processors, against this machine; some 200 MB to download (docs/arm.md)
	PYTHON=$(BIN)/python tools/check_arm.sh

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

docs: env ## The documentation as a site, site/index.html; any warning ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo open site/index.html

wheel: env ## dist/*.whl with its bill of materials, and dist/*.tar.gz
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python tools/add_sbom.py dist/*.whl

clean: ## Removes the environment and what was built
	rm -rf $(VENV) .hypothesis build dist site *.egg-info s2tf-demo
