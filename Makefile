# Two commands: `make demo` and `make test`. Each sets itself up on a fresh machine with Python 3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_HOME := $(CURDIR)/.dagster
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test bench drill night dev check lint types layers security validate constraints clean
.DEFAULT_GOAL := demo

demo: $(VENV)/base.stamp  ## run the samples, or one's own: make demo VIDEO=path
	$(BIN)/autorisk demo $(if $(VIDEO),"$(VIDEO)")

test: $(VENV)/dev.stamp  ## the test suite, one process a core
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

bench: $(VENV)/dev.stamp  ## measure and write docs/performance.md; ONLY=rules for one group, QUICK=1 for a short try
	$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

drill: $(VENV)/dev.stamp  ## kill parts of a real fleet half-way through videos, print what became of them; ONLY=worker VIDEOS=12
	$(BIN)/python -m tests.fleet.drill $(ONLY) $(if $(VIDEOS),--videos $(VIDEOS))

night: $(VENV)/dev.stamp  ## a night from 22:00 to 06:00 at sixty times its speed, with faults; prints its time line
	$(BIN)/python -m tests.night.simulated

dev: $(VENV)/base.stamp  ## the Dagster UI on http://127.0.0.1:3000, clips under /media
	$(BIN)/autorisk ui --host 127.0.0.1 --port 3000

check: lint types layers security validate  ## what CI checks beside the tests

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

layers: $(VENV)/dev.stamp
	$(BIN)/lint-imports

security: $(VENV)/dev.stamp
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml autorisk_dagster assets resources scripts

validate: $(VENV)/dev.stamp $(DAGSTER_HOME)/dagster.yaml
	$(BIN)/dagster definitions validate -w workspace.yaml

# Copied once: an operator may change it there.
$(DAGSTER_HOME)/dagster.yaml:
	@mkdir -p $(DAGSTER_HOME)
	cp configs/dagster_local.yaml $@

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or say PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/base.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,models,privacy,openvino,sumo,fleet,web]'
	@touch $@

constraints:  ## pin anew what all extras resolve to
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --all-extras pyproject.toml -o constraints.txt

clean:  ## everything that can be made again; footage and its results in data/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
