# `make demo` and `make test` do all the set-up themselves. PYTHON names the interpreter to use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check

.PHONY: demo test test-faults lint bench clean

# Installed again when the dependencies change; the code itself is used where it stands.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; run make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), which takes a few minutes the first time"
	@# What comes with Python 3.11 takes minutes longer to find out which releases go together.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=26'
	$(PIP) -e .
	@touch $(STAMP)

# What tests and lint need besides: pytest, servers to test against, linters, validators.
$(DEV_STAMP): $(STAMP)
	@echo "installing what tests need"
	$(PIP) -e '.[dev]'
	@touch $(DEV_STAMP)

demo: $(STAMP)  ## the main job on a simulated brain, in .demo/
	@BIN=$(BIN) sh experiments/demo.sh

test: $(DEV_STAMP)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -q

test-faults: $(DEV_STAMP)  ## kill, cut, fill and damage on purpose; ends with a table of what was found
	$(BIN)/python -m pytest tests/faults -m faults -q

lint: $(DEV_STAMP)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## compare with named peers; nothing else should run meanwhile
	$(PIP) -e '.[bench]'
	@for script in training_throughput joint_step similarity score_intervals noise_evaluation attacks \
			predictivity corruptions manipulations encoder_fit populate_overhead answers response_reading busy_machine image_loading; do \
		echo; $(BIN)/python -m benchmarks.$$script || exit 1; done

clean:  ## remove the environment and the demo's files
	-@NEUROTEACH_HOME=.demo/home $(BIN)/neuroteach database stop --force 2>/dev/null
	rm -rf $(VENV) .demo
