# Two targets do everything, set-up included: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(VENV)/.ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh sample_data/demo.sh

test: $(VENV)/.ready lint
	$(BIN)/pytest -n auto

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m relrep_cli.reference --check docs/reference.md

docs: $(VENV)/.ready
	$(BIN)/python -m relrep_cli.reference docs/reference.md

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache
