# make demo   run the main job          make test    the tests
# make check  format, lint, types, layering; and that mypyc takes what is compiled
# make bench   the benchmarks
# make bench-check  instructions for each operation against those of the last release, in a minute or two; needs valgrind
# make compiled  C extensions in place, see docs/COMPILED.md    make pure  remove them
# make sabotage  plant faults one at a time, and see that a test notices each (about ten minutes)
# make test-compiled  build them in a copy and run the tests there
# make test-versions  the tests on every CPython from 3.11 that is installed
# make coverage       the tests, with the branches of the package that they reach; fails below the number held
# make docs           the documentation site, in build/site       make sbom   what an installation contains
# make fuzz           the fuzzer, FUZZ_SECONDS=300 for all harnesses together, or FUZZ_TARGETS="packets spki"
# make structure      sizes, foreign privates, circles, the calls of one packet
# make wheels         a pure wheel and a compiled one, in dist/
# make dist           what goes to the package index, checked
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# One line installs what a target needs beside the package: $(call install,EXTRA)
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(1)]'

# Four files of tests at a time, on two cores too: most tests wait more than they compute.
side_by_side = --numprocesses 4 --dist loadfile

.PHONY: demo test check bench bench-check format tools sabotage clean compiled pure test-compiled test-versions coverage docs sbom dist fuzz explore structure wheels

demo: $(VENV)/.run
	$(BIN)/python examples/demo

test: $(VENV)/.test tools
	$(BIN)/python -m pytest $(side_by_side)

check: $(VENV)/.check $(VENV)/.compile
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy securelink tests
	@echo "does mypyc take the modules that are compiled? without the C compiler"
	SECURELINK_COMPILE=1 $(BIN)/python setup.py -q --version >/dev/null
	$(BIN)/python -m pytest -q tests/test_layering.py

bench: $(VENV)/.bench $(VENV)/.compile
	@if command -v cc >/dev/null; then \
		bash .ci/compiled-copy $(abspath $(BIN)/python) build/compiled && $(BIN)/python -m benchmarks --compiled build/compiled; \
	else \
		echo "no C compiler: without the compiled copy"; $(BIN)/python -m benchmarks; \
	fi

bench-check: $(VENV)/.run
	$(BIN)/python -m benchmarks.budget

sabotage: $(VENV)/.test tools
	$(BIN)/python tests/sabotage.py

structure: $(VENV)/.run
	$(BIN)/python tests/structure.py

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

compiled: $(VENV)/.compile
	SECURELINK_COMPILE=1 $(BIN)/python setup.py -q build_ext --inplace

pure:
	rm -rf build securelink__mypyc.*
	find securelink \( -name '*.so' -o -name '*.pyd' \) -delete

test-compiled: $(VENV)/.test $(VENV)/.compile tools
	bash .ci/test-compiled $(abspath $(BIN)/python) $(side_by_side)

test-versions: tools
	$(PYTHON) .ci/test-versions $(side_by_side)

# Every process that a test starts is measured too; the parts are combined afterwards.
coverage: $(VENV)/.coverage tools
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -m "not cost" $(side_by_side)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# What a network can do to two cores, within larger bounds than the tests have; EXPLORE_SECONDS altogether.
EXPLORE_SECONDS ?= 1800
explore: $(VENV)/.run
	cd tests && $(abspath $(BIN)/python) -m explorer $(EXPLORE_SECONDS)

# All harnesses of tests/fuzz one after the other, FUZZ_SECONDS together; findings are in build/fuzz.
FUZZ_SECONDS ?= 300
fuzz: $(VENV)/.fuzz
	cd tests && $(abspath $(BIN)/python) -m fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

# Twice, and a warning is an error: with Zensical, and with Material for MkDocs, which it succeeds.
docs: $(VENV)/.docs
	$(BIN)/python .ci/site-source build/site-source
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir build/site-mkdocs >build/mkdocs.log 2>&1 \
		|| { cat build/mkdocs.log; exit 1; }  # with --quiet it would not see its own warnings
	@$(BIN)/zensical build --clean --strict >build/site.log 2>&1; code=$$?; cat build/site.log; \
		if [ $$code != 0 ] || grep -qiE 'warning|griffe:' build/site.log; then exit 1; fi

sbom: $(VENV)/.sbom
	$(BIN)/python -m venv --clear --without-pip build/sbom
	$(BIN)/python -m pip --python build/sbom/bin/python install --quiet --disable-pip-version-check '.[console,jwt,metrics]'
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file build/sbom.json build/sbom/bin/python
	@echo "build/sbom.json"

dist: $(VENV)/.dist
	$(BIN)/python .ci/dist

wheels: $(VENV)/.wheels
	$(BIN)/python .ci/wheels

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

$(VENV)/.coverage: pyproject.toml | $(BIN)/python
	$(call install,coverage)
	touch $@ $(VENV)/.run $(VENV)/.test

$(VENV)/.fuzz: pyproject.toml | $(BIN)/python
	$(call install,fuzz)
	touch $@ $(VENV)/.run $(VENV)/.test

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(call install,docs)
	touch $@ $(VENV)/.run

$(VENV)/.sbom: pyproject.toml | $(BIN)/python
	$(call install,sbom)
	touch $@ $(VENV)/.run

$(VENV)/.wheels: pyproject.toml | $(BIN)/python
	$(call install,wheels)
	touch $@ $(VENV)/.run $(VENV)/.compile

$(VENV)/.dist: pyproject.toml | $(BIN)/python
	$(call install,dist)
	touch $@ $(VENV)/.run

clean: pure
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
