# `make` lists the targets. Each makes the environment that it needs on the first call: .venv, or one of its own.
PYTHON  ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
WORKERS ?= 2
VENV    := .venv
PY      := $(VENV)/bin/python
PIP     := -m pip install --disable-pip-version-check
TESTS   := -m pytest -n $(WORKERS) --dist loadfile

# Threads that wait for work sleep: spinning ones starve whatever else runs on a small machine.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help pretrain test test-latest test-oldest test-slow faults lint bench results keys notebooks clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# What pretraining needs, and what all other targets need: the extras that README.md lists.
$(VENV)/.train: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) $(PIP) -e '.[train,fairseq2]'
	@$(PY) -c 'from importlib.util import find_spec; import platform; find_spec("fairseq2") or print("fairseq2 has no build for Python", platform.python_version(), "on", platform.system(), platform.machine() + ": training reads audio with the torch DataLoader, the same batches.")'
	@touch $@

STAMP := $(VENV)/.all
$(STAMP): $(VENV)/.train
	$(PY) $(PIP) -e '.[train,fairseq2,finetune,probe,search,superb,export,dev]'
	@touch $@

pretrain: $(VENV)/.train  ## distil a supernet on the embedded corpus, stage 1 then stage 2 (runs/mini/)
	$(PY) -m lighthubert.pretrain recipes/mini/stage1.yaml
	$(PY) -m lighthubert.pretrain recipes/mini/stage2.yaml

test: $(STAMP)  ## the tests, without those marked slow
	@$(PY) $(TESTS)

# fairseq2 and s3prl pin older libraries, so tests/superb and the tests of fairseq2's reader stay out here; torch 2.6
# cannot export.
EXTRAS-latest := ,export
OUT-oldest    := --ignore tests/export
.venv-%/.all: tests/%.txt pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) -e '.[train,finetune,probe,search,dev$(EXTRAS-$*)]' -c $<
	@touch $@

test-latest: .venv-latest/.all  ## the tests with the newest libraries (tests/latest.txt)
test-oldest: .venv-oldest/.all  ## the tests with the oldest libraries (tests/oldest.txt)
test-latest test-oldest:
	@echo "with the libraries of $(@:test-%=tests/%.txt); left out, for they need others: tests/superb, fairseq2's reader$(if $(OUT-$(@:test-%=%)), and tests/export)"
	@$(<D)/bin/python $(TESTS) --ignore tests/superb $(OUT-$(@:test-%=%))

test-slow: $(STAMP)  ## the slow tests: long kill-and-resume series and the like
	@$(PY) -m pytest -m slow

faults: $(STAMP)  ## kills, full disks, damaged and hostile files: docs/reliability.md, up to 90 minutes
	$(PY) tests/faults/campaign.py

lint: $(STAMP)  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m mypy

bench: $(STAMP)  ## step time and throughput of the mini recipe
	$(PY) tests/bench.py

results: $(STAMP)  ## the tables of docs/results.md and checkpoints/README.md, from docs/results/raw
	$(PY) docs/results/tables.py

keys: $(STAMP)  ## docs/keys.md, all keys of all recipes and spaces
	$(PY) docs/keys.py

notebooks: $(STAMP)  ## run docs/notebooks anew, in place
	$(PY) docs/notebooks/run.py

clean:  ## remove environments, caches and built wheels; runs/ stays
	rm -rf .venv .venv-latest .venv-oldest .hypothesis .pytest_cache .mypy_cache .ruff_cache dist
	find lighthubert tests -name __pycache__ -type d -prune -exec rm -rf {} +
