# make demo   run the main job          make test    the tests
# make check  format, lint, types       make bench   the benchmarks
# make compiled  C extensions in place, see docs/COMPILED.md    make pure  remove them
# make test-compiled  build them in a copy and run the tests there
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench format tools clean compiled pure test-compiled

demo: $(VENV)/.run
	$(BIN)/securelink demo

test: $(VENV)/.test tools
	$(BIN)/python -m pytest

check: $(VENV)/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy securelink tests
	$(BIN)/python -m pytest -q tests/test_layering.py

bench: $(VENV)/.bench $(VENV)/.compile
	@if command -v cc >/dev/null; then \
		bash .ci/compiled-copy $(abspath $(BIN)/python) build/compiled && $(BIN)/python -m benchmarks --compiled build/compiled; \
	else \
		echo "no C compiler: without the compiled copy"; $(BIN)/python -m benchmarks; \
	fi

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

compiled: $(VENV)/.compile
	SECURELINK_COMPILE=1 $(BIN)/python setup.py -q build_ext --inplace

pure:
	rm -rf build securelink__mypyc.*
	find securelink \( -name '*.so' -o -name '*.pyd' \) -delete

test-compiled: $(VENV)/.test $(VENV)/.compile tools
	bash .ci/test-compiled $(abspath $(BIN)/python)

# The tests compare keys and fingerprints with these two programs.
tools:
	@command -v openssl >/dev/null && command -v ssh-keygen >/dev/null || bash .ci/tools

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@ $(VENV)/.run

$(VENV)/.check: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[check]'
	touch $@ $(VENV)/.run $(VENV)/.test

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	touch $@ $(VENV)/.run

$(VENV)/.compile: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[compile]'
	touch $@ $(VENV)/.run

clean: pure
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
