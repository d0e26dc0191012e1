.DEFAULT_GOAL := help
.PHONY: help install check browser test test-all test-frameworks docs demo screenshots
.PHONY: bench bench-trainer replicate replicate-quick
PY := .venv/bin/python
PYTEST := $(PY) -m pytest --numprocesses 4 --dist loadgroup
INSTALLED := .venv/.installed

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(INSTALLED)  ## install everything into .venv (about 5 GB)
$(INSTALLED): pyproject.toml clients/pyproject.toml constraints.txt hatch_build.py scripts/install
	@scripts/install
	@touch $@

check: $(INSTALLED)  ## run lint, types and import rules
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

browser: $(INSTALLED)  ## find a Chromium for the browser tests and screenshots, or install one
	@$(PY) -m scripts.browser

test: check browser  ## run the checks and the test suite, with the real vLLM; what CI runs
	$(PYTEST) -m "not slow and not frameworks"

test-all: check browser  ## run the same and the tests that are slow and seldom fail
	ALL_EXAMPLES=1 $(PYTEST) -m "not frameworks"

test-frameworks: $(INSTALLED)  ## test the adapters with every framework on PyPI, each in its own environment (.venvs, about 8 GB)
	$(PY) -m pytest tests/frameworks

docs: $(INSTALLED)  ## build the documentation site into site/
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "docs: open site/index.html"

demo: $(INSTALLED)  ## train the tiny model on this machine's CPU and write runs/demo/report.html; 8 minutes
	@$(PY) -m ireasoner.cli demo

screenshots: browser  ## take the pictures of runs/demo and of the explorer into docs/images
	@$(PY) -m scripts.screenshots

bench: $(INSTALLED)  ## compare the reward server's speed and memory with other servers; 40 minutes
	@$(PY) -m benchmarks
	@$(PY) -m scripts.scaling_docs

bench-trainer: $(INSTALLED)  ## compare the trainer's cost per question with that of the released code; 5 minutes
	@$(PY) -m benchmarks.trainer

replicate: $(INSTALLED)  ## run every arm of the replication with 5 seeds, into docs/replication; hours, continues if stopped; says what the atlas lacks
	@$(PY) -m replication
	@$(PY) -m replication.atlas --no-run
	@$(PY) -m scripts.replication_docs

replicate-quick: $(INSTALLED)  ## run two arms with 2 seeds, into docs/replication/quick; 20 minutes
	@$(PY) -m replication --quick
