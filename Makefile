# Two commands: `make demo` shows the programs at work, `make test` runs every check.
# Both make .venv when it is missing and renew it when pyproject.toml or constraints.txt change.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# The first of python3.11 and python3 that is new enough; `make PYTHON=/path/to/python test` overrules.
PYTHON ?= $(shell for name in python3.11 python3; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
TEST_WORKERS ?= 2

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/python -m pytest

DEMO := build/demo

.PHONY: help demo test

help:
	@echo "make demo   generate a small data set, prepare, verify and show it, train on it   ($(DEMO))"
	@echo "make test   style, types, direction of imports, tests"

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "posedata needs Python 3.11 or newer: make PYTHON=/path/to/python ..." >&2; exit 2; }
	"$(PYTHON)" -m venv .venv

.venv/train.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e '.[train]'
	@touch .venv/base.stamp $@

.venv/base.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e .
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e '.[dev]'
	@touch .venv/base.stamp .venv/train.stamp $@

demo: .venv/train.stamp
	@rm -rf $(DEMO)
	@mkdir -p $(DEMO)
	$(BIN)/posedata sample $(DEMO)/coco --pictures 600
	$(BIN)/posedata prepare coco --root $(DEMO)/coco --out $(DEMO)/crops.zarr \
	    --recipe coco-256x192-udp --crop-size 128x96 --map-size 32x24 --context 24
	$(BIN)/posedata verify $(DEMO)/crops.zarr --full --sheet $(DEMO)/sheet.png
	$(BIN)/posedata info $(DEMO)/crops.zarr
	$(BIN)/posetrain run small-128x96 --data $(DEMO)/crops.zarr --out $(DEMO)/run
	$(BIN)/posetrain evaluate $(DEMO)/run --data $(DEMO)/crops.zarr --results $(DEMO)/results.json --report $(DEMO)/report
	@echo
	@echo "data set   $(DEMO)/coco          pictures and annotations, as COCO has them"
	@echo "store      $(DEMO)/crops.zarr    crops, maps, keypoints and the table of every annotation"
	@echo "picture    $(DEMO)/sheet.png     what is in the store"
	@echo "run        $(DEMO)/run           checkpoints, log.jsonl, pictures of predictions"
	@echo "results    $(DEMO)/results.json  keypoints of the val split, in COCO's format"
	@echo "report     $(DEMO)/report/report.html  how good the network is, what costs most, and the worst cases"

test: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(PYTEST) -m "not gpu and not serial" -n $(TEST_WORKERS) --dist loadfile --durations=10
	$(PYTEST) -m "serial and not gpu" --durations=5 || [ $$? -eq 5 ]  # 5: no test bears the mark
