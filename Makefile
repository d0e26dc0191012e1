.DEFAULT_GOAL := help
.PHONY: help install check test test-frameworks demo bench bench-trainer replicate replicate-quick
PY := .venv/bin/python
INSTALLED := .venv/.installed

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED)  ## install everything into .venv
$(INSTALLED): pyproject.toml clients/pyproject.toml constraints.txt scripts/install
	@scripts/install
	@touch $@

check: $(INSTALLED)  ## lint, types, import rules
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

test: check  ## the whole suite, with the real vLLM
	$(PY) -m pytest -m "not slow and not frameworks" --numprocesses 2 --dist loadgroup

test-frameworks: $(INSTALLED)  ## adapters against all frameworks that PyPI has, in environments of their own (.venvs, about 8 GB)
	$(PY) -m pytest tests/frameworks

demo: $(INSTALLED)  ## the whole loop on this machine's CPU; writes runs/demo/report.html
	@$(PY) -m ireasoner.cli demo

bench: $(INSTALLED)  ## the reward server's speed and memory beside what it is compared with; half an hour
	@$(PY) -m benchmarks
	@$(PY) -m scripts.scaling_docs

bench-trainer: $(INSTALLED)  ## what a question costs the trainer beside the released code's order of work; five minutes
	@$(PY) -m benchmarks.trainer

replicate: $(INSTALLED)  ## every arm of the table with five seeds, into docs/replication; hours, and you can stop and continue
	@$(PY) -m replication
	@$(PY) -m scripts.replication_docs

replicate-quick: $(INSTALLED)  ## two arms and two seeds, into docs/replication/quick; 20 minutes
	@$(PY) -m replication --quick
