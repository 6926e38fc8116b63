# `make` lists the targets. The first call of any of them makes .venv and installs what it needs.
PYTHON  ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
WORKERS ?= 2
PY      := .venv/bin/python
STAMP   := .venv/.installed

# Threads that wait for work sleep: spinning ones starve whatever else runs on a small machine.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help pretrain test test-slow lint bench results keys notebooks clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --disable-pip-version-check -e '.[train,fairseq2,finetune,probe,search,superb,dev]'
	@$(PY) -c 'from importlib.util import find_spec; import platform; find_spec("fairseq2") or print("fairseq2 has no build for Python", platform.python_version(), "on", platform.system(), platform.machine() + ": training reads audio with the torch DataLoader, the same batches.")'
	@touch $@

pretrain: $(STAMP)  ## distil a supernet on the embedded corpus, stage 1 then stage 2 (runs/mini/)
	$(PY) -m lighthubert.pretrain recipes/mini/stage1.yaml
	$(PY) -m lighthubert.pretrain recipes/mini/stage2.yaml

test: $(STAMP)  ## the tests, without those marked slow
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(STAMP)  ## the slow tests: long kill-and-resume series and the like
	@$(PY) -m pytest -m slow

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

clean:  ## remove .venv, caches and built wheels; runs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache dist
	find lighthubert tests -name __pycache__ -type d -prune -exec rm -rf {} +
