# `make demo`: from a clone to figures. `make test`: everything CI checks. Both set up what they need first.
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= all
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/python -m uv pip install --python $(BIN)/python --compile-bytecode --quiet
# Snakemake's immutables has no wheel for Python 3.14
NEEDS_COMPILER := import sys; sys.version_info < (3, 14) or sys.exit("setup: on Python 3.14 one package is built, which needs a C compiler and Python.h (apt-get install gcc python3-dev); or choose another Python: make setup PYTHON=python3.13")
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.PHONY: help setup setup-demo setup-dev demo paper figures test-cluster test-gpu browser test test-fast test-faults lint format lock clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready  ## .venv with the pinned requirements and the library
setup-demo: $(VENV)/.ready-demo  ## the same, with the demo's pre-trained network (17 MB)
setup-dev: $(VENV)/.ready-dev  ## the same, with what tests and linters need

# The package manager lives in the venv too, so that nothing is asked of the machine but Python and make.
$(BIN)/uv:
	@echo "setup: creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; choose one with: make setup PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

$(VENV)/.ready: envs/requirements.txt pyproject.toml | $(BIN)/uv
	@echo "setup: installing envs/requirements.txt (torch is large: about a minute)"
	@$(UV) -r envs/requirements.txt || { $(BIN)/python -c '$(NEEDS_COMPILER)'; exit 1; }
	@$(UV) --no-deps -e .
	@touch $@

$(VENV)/.ready-demo: envs/requirements-demo.txt $(VENV)/.ready
	@$(UV) --require-hashes --no-deps -r envs/requirements-demo.txt
	@touch $@

$(VENV)/.ready-dev: envs/requirements-dev.txt $(VENV)/.ready-demo
	@$(UV) -r envs/requirements-dev.txt
	@touch $@

# Enough to draw what is published; `make setup` adds the rest to it
$(VENV)/.ready-figures: envs/requirements-figures.txt pyproject.toml | $(BIN)/uv
	@$(UV) -r envs/requirements-figures.txt
	@$(UV) --no-deps -e .
	@touch $@

figures: $(if $(wildcard $(VENV)/.ready),,$(VENV)/.ready-figures)  ## the published figures and tables, into paper_figures/published/: no torch, no dataset
	@$(BIN)/dqv2 figures

demo: setup-demo  ## every figure and table at demo scale, into paper_figures/demo/
	@$(SNAKEMAKE) --configfile config/demo.yaml
	@echo "demo: the figures and tables are in paper_figures/demo/"

paper: setup  ## the paper's own scale (needs the datasets and GPUs; see README)
	@$(SNAKEMAKE)

browser: setup-dev  ## the demo's page in a headless Chromium (apt-get install chromium), at a phone's width and a desk's
	$(BIN)/python tests/browser.py results/demo/report/index.html

lint: setup-dev  ## ruff, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --configfile config/smoke.yaml

format: setup-dev  ## write the code the way lint wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

test: lint  ## lint, unit and plan tests, the whole DAG on a tiny set
	$(BIN)/pytest -n $(WORKERS) --no-loadscope-reorder -m "not cluster"

test-cluster: setup-dev  ## the pipeline through a SLURM started here (root and Debian's packages; else left out)
	@$(UV) -r envs/requirements-slurm.txt
	$(BIN)/pytest -m cluster -rs tests/cluster

test-gpu: setup-dev  ## what only a GPU can show: bins, weights, recorded steps, too little memory, NCCL (else left out)
	$(BIN)/pytest -m gpu -rs tests/gpu

test-faults: setup-dev  ## every fault of files, trainings and processes, and docs/reliability.md (half an hour to two; goes on where it was stopped)
	$(BIN)/python -m tests.faults

test-fast: setup-dev  ## without the runs of the whole DAG
	$(BIN)/pytest -n $(WORKERS) --no-loadscope-reorder -m "not workflow and not cluster"

lock: setup-dev  ## resolve envs/*.in into the exact pins of envs/*.txt and envs/dqv2.yaml
	@$(BIN)/python envs/lock.py

clean:  ## remove what the demo, config/folder.yaml and config/own_images.yaml made
	rm -rf $(foreach run,demo folder own,results/$(run) paper_figures/$(run) logs/$(run))
