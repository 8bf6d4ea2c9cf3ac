# README command 1: make demo    README command 2: make test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
NPROCS ?= $(shell getconf _NPROCESSORS_ONLN)
OUTPUT := $(DEMO)/derivatives/latentatlas

# setuptools warns of every editable installation.
PIP := PYTHONWARNINGS=ignore:Editable $(BIN)/python -m pip install --quiet

.PHONY: help install demo test test-slow fuzz test-kill test-real test-container test-apptainer test-slurm coverage lint format docs outputs pictures licences clean \
	measure benchmark-tissues
help:
	@echo "make demo    install, simulate a cohort, run both levels, print where the report is"
	@echo "make test    install, run the tests"
	@echo "make test-slow   long measurements: error rates, planted change"
	@echo "make fuzz    random input: datasets, tables, headers, atlases, filters, complete commands"
	@echo "make test-kill   kill both levels in every step, fill disks (as root)"
	@echo "make lint    style, types, dead code, and the one-way rule of imports"
	@echo "make docs    the documentation as HTML, in docs/_build/html"
	@echo "make pictures    remake the documentation's pictures from the demonstration (needs Chromium)"
	@echo "make outputs     update the parts of docs/ that are made from bids_app/schema"
	@echo "make coverage    share of the science modules that the fast tests run"
	@echo "make measure    compare the participant level's grey matter with reference labels (needs LATENTATLAS_TEST_DATA)"
	@echo "make benchmark-tissues    compare our tissue model with AMAP and Atropos on the same scans"
	@echo "make test-container, test-apptainer, test-slurm    test the images and a real cluster (see docs/containers.md)"

# torch goes first and alone, by its exact version, so that pip settles on one build of it before anything else asks.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; where one has another name: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV): 2 GB or more; this takes some minutes"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade -c constraints.txt pip setuptools wheel
	$(PIP) $$(grep '^torch==' constraints.txt)
	$(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(PIP) -c constraints.txt -e '.[bench]'
	@touch $@

install: $(VENV)/.installed

# A stamp, because an interrupted simulation leaves a dataset that the same command goes on with.
$(DEMO)/.simulated: | install
	$(BIN)/latentatlas-simulate $(DEMO)/bids --n-participants 30 --effect 0.5 --nprocs $(NPROCS) --seed 1
	@touch $@

demo: install $(DEMO)/.simulated
	$(BIN)/latentatlas $(DEMO)/bids $(OUTPUT) participant --sloppy --nprocs $(NPROCS) -w $(DEMO)/work
	$(BIN)/latentatlas $(DEMO)/bids $(OUTPUT) group --sloppy --nprocs $(NPROCS) -w $(DEMO)/work \
		--group-column diagnosis --covariates age sex tiv
	@echo; echo "The group report:        $(abspath $(OUTPUT))/group.html"
	@echo "A participant's report:  $$(ls $(abspath $(OUTPUT))/sub-*.html | head -n 1)"
	@echo "What they show:          docs/tutorial.md"

# As many processes as processors, one thread each; the runs that they test begin no others unless told to (joblib's
# variable). What shares something costly stays together (tests/conftest.py).
PARALLEL := OMP_NUM_THREADS=1 LOKY_MAX_CPU_COUNT=1 $(BIN)/python -m pytest -n $(NPROCS) --dist loadgroup --no-loadscope-reorder
test: $(VENV)/.installed-dev
	$(PARALLEL) -m "not slow and not real and not engine and not fuzz and not kill"

# Measurements of minutes: how often nothing is called something, and planted change through the whole chain.
test-slow: $(VENV)/.installed-dev
	$(PARALLEL) -m "slow and not real"

# Random input: 2,000 examples up to the built graph, and 40 whole commands.
fuzz: $(VENV)/.installed-dev
	LATENTATLAS_FUZZ=10 $(BIN)/python -m pytest --show-capture=no tests/fuzz

# Both levels killed in every step, and full disks (small file systems are mounted, which root alone can do).
test-kill: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -rs tests/kill

# The scans are those of the folder named by LATENTATLAS_TEST_DATA.
test-real: $(VENV)/.installed-dev
	$(PARALLEL) -m real

# Half an hour for 35 scans on two processors; a second call goes on where the first one stopped.
REFERENCE_SETS ?= ixi10 ixi15 old10
MEASURED ?= work/measured
REFERENCES = $(addprefix $(or $(LATENTATLAS_TEST_DATA),$(error set LATENTATLAS_TEST_DATA to the folder of the datasets))/,$(REFERENCE_SETS))
measure: $(VENV)/.installed
	$(BIN)/python benchmarks/measure.py $(REFERENCES) --output $(MEASURED) --nprocs $(NPROCS)

benchmark-tissues: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/tissues.py $(REFERENCES) --cache work/chains --json work/tissues.json --threads $(NPROCS)

# The science modules alone, by their own tests: above 90 % or it fails.
coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not real and not slow" tests/stats tests/model tests/group tests/participant tests/space \
		--cov --cov-report=
	$(BIN)/python -m coverage report --fail-under=90 --include='*/stats/*,*/model/*,*/group/*,*/participant/*,*/space/*'

# Each brings its engine up (installed where it is missing, as root), tests with it, and takes it down again; where that
# is not possible, its tests are counted as skipped, each with the reason. One thread, so that maps can be compared exactly.
ENGINE_TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs --durations=5 tests/containers

test-container: $(VENV)/.installed-dev
	containers/with-docker containers/with-tools env $(ENGINE_TESTS) -k "docker or descriptors"

test-apptainer: $(VENV)/.installed-dev
	containers/with-apptainer containers/with-tools env $(ENGINE_TESTS) -k apptainer

test-slurm: $(VENV)/.installed-dev
	containers/with-slurm env $(ENGINE_TESTS)/test_slurm.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/vulture
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck -x -P containers containers/with-* containers/local-base containers/*.sh hpc/*.sbatch

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "The documentation: $(abspath docs/_build/html)/index.html"

# Of the tutorial and the README, from the demonstration that is there.
pictures: $(VENV)/.installed
	$(BIN)/python docs/pictures.py $(OUTPUT)

# The parts of docs/outputs.md and docs/participant.md that are made from bids_app/schema, the errors in docs/troubleshooting.md.
outputs: $(VENV)/.installed
	$(BIN)/python docs/generate.py outputs

licences: $(VENV)/.installed-dev $(VENV)/.installed-docs $(VENV)/.installed-bench
	$(BIN)/python docs/generate.py licences

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(DEMO) $(VENV) *.egg-info build docs/_build docs/generated .pytest_cache .ruff_cache .mypy_cache .coverage
