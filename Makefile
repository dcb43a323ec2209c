# Two targets do everything, set-up included: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

unexport PYTHONDONTWRITEBYTECODE  # compiled tests are kept: half the time of collecting them again

.PHONY: demo test test-slow test-cpus test-lowest test-light mutants bench lint docs clean

KERNELS := relrep_cli/numerics/kernels.c
$(VENV)/.ready: pyproject.toml constraints.txt $(KERNELS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(VENV)/.ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh sample_data/demo.sh

test: $(VENV)/.ready
	$(BIN)/pytest -n auto --dist worksteal -m "not slow"

# Kills, full disks, races, signals, memory, the README on real files, and whole runs that take a second or more
test-slow: $(VENV)/.ready
	$(BIN)/pytest -n auto --dist worksteal -m slow

# The tests of numbers, under the kernels of other kinds of processor
test-cpus: $(VENV)/.ready
	$(BIN)/python tests/cpus.py

# The parts that feel their libraries most, with the lowest versions that pyproject.toml allows
LOWEST := .venv-lowest
$(LOWEST)/.ready: pyproject.toml constraints-lowest.txt $(KERNELS)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --constraint constraints-lowest.txt --editable . pytest pytest-xdist hypothesis anndata
	touch $@

test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/pytest -n auto tests/metrics/test_metrics.py tests/numerics/test_kernels.py tests/relative/test_similarities.py tests/neighbors/test_neighbors.py tests/store/test_format.py tests/base/test_registry.py

# What works without torch, pyarrow and numba
LIGHT := .venv-light
$(LIGHT)/.ready: pyproject.toml requirements-light.txt constraints.txt $(KERNELS)
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/pip install --quiet --constraint constraints.txt --requirement requirements-light.txt
	$(LIGHT)/bin/pip install --quiet --no-deps --editable .
	touch $@

test-light: $(LIGHT)/.ready
	PATH="$(CURDIR)/$(LIGHT)/bin:$$PATH" sh tests/light.sh

# Small changes to the code, one at a time, each of which a test must notice; a quarter of an hour of CPU time
mutants: $(VENV)/.ready
	$(BIN)/python tests/mutants.py -j 2

# relrep beside the scripts that one would write instead; some minutes
bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m relrep_cli.cli.reference --check docs/reference.md
	$(BIN)/python -m relrep_cli.cli.reference --check docs/reading.md
	$(BIN)/python -m relrep_cli.cli.reference --check docs/api.md
	$(BIN)/python -m relrep_cli.cli.reference --check relrep_cli/metrics/conventions.json
	$(BIN)/python -m relrep_cli.cli.reference --check relrep_cli/cli/words.json

docs: $(VENV)/.ready
	$(BIN)/python -m relrep_cli.cli.reference relrep_cli/metrics/conventions.json
	$(BIN)/python -m relrep_cli.cli.reference relrep_cli/cli/words.json
	$(BIN)/python -m relrep_cli.cli.reference docs/reference.md
	$(BIN)/python -m relrep_cli.cli.reference docs/reading.md
	$(BIN)/python -m relrep_cli.cli.reference docs/api.md
	$(BIN)/python -m benchmarks --page docs/performance.md

clean:
	rm -rf $(VENV) $(LOWEST) $(LIGHT) build relrep_cli/numerics/native_kernels.*.so demo .pytest_cache .mypy_cache .ruff_cache
