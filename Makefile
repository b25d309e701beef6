# One target a stage; `make help` lists them. RUN=configs/or.yaml or WIKI=or says which run, SET="key=value ..." changes settings.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
WIKI   ?= or
RUN    ?= $(WIKI)
SET    ?=
LAUNCH ?=

VENV   := .venv
PY     := $(VENV)/bin/python
STAGES := fetch extract filter tokenizer encode pretrain finetune score report
CODE   := pipeline tests corpora benchmarks

.PHONY: help setup demo curve tune test test-slow lint bench-text bench-pretrain bench-scaling bench-finetune clean $(STAGES)

help: ## list what there is to make
	@echo "make STAGE RUN=configs/or.yaml   or   make STAGE WIKI=or     brings a stage up to date, with all that it needs:"
	@echo "  fetch → extract → filter → tokenizer → encode → pretrain → finetune → score → report"
	@echo '  SET="pretrain.max_minutes=5 model.size=tiny" changes settings; LAUNCH="accelerate launch --num_processes 8" starts training'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'
	@echo "python -m pipeline --help tells what each stage does."

setup: $(VENV)/installed ## make .venv and install the pinned dependencies into it

$(VENV)/installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(STAGES): | $(VENV)/installed
	@$(PY) -m pipeline $@ $(RUN) $(SET) $(if $(LAUNCH),--launcher "$(VENV)/bin/$(LAUNCH)")

demo: | $(VENV)/installed ## run the whole line on the demo corpus, in minutes
	@$(PY) -m pipeline report configs/demo.yaml $(SET)
	$(PY) -m pipeline.demo configs/demo.yaml $(SET)

curve: | $(VENV)/installed ## measure accuracy against the number of labels
	@$(PY) -m pipeline curve $(RUN) $(SET)

tune: | $(VENV)/installed ## search for better settings of fine-tuning
	@$(PY) -m pipeline tune $(RUN) $(SET)

test: | $(VENV)/installed ## run the tests (under 10 minutes on 2 cores)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal

test-slow: | $(VENV)/installed ## run the tests that take minutes
	@$(PY) -m pytest -m slow

lint: | $(VENV)/installed ## check style, types and shell scripts
	@$(VENV)/bin/ruff format --check $(CODE)
	$(VENV)/bin/ruff check $(CODE)
	$(VENV)/bin/mypy
	$(VENV)/bin/shellcheck -x .ci/run cluster/*.sbatch cluster/*.sh cluster/test/*.sh

bench-text: | $(VENV)/installed ## measure extraction, filtering and tokenizers on AKSHARA_DATA into docs/benchmarks.md
	@$(PY) -m benchmarks.write_tables text

bench-pretrain: | $(VENV)/installed ## measure pretraining beside the plain recipe, for three quarters of an hour, likewise
	@$(PY) -m benchmarks.write_tables pretrain

bench-scaling: | $(VENV)/installed ## measure pretraining on one and two processes, likewise
	@$(PY) -m benchmarks.write_tables scaling

bench-finetune: | $(VENV)/installed ## measure fine-tuning beside transformers' Trainer, on the run or-local, likewise
	@$(PY) -m pipeline pretrain configs/or-local.yaml
	$(PY) -m benchmarks.write_tables finetune

clean: ## delete runs/ (results); downloads in corpora/ and .venv stay
	rm -rf runs
