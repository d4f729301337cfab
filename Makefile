# Targets for a checkout. Each makes .venv first when it is missing or out of date.
#   make demo      denoise a real scan and write the results to demo_output/
#   make test      the quick tests        make test-all   the slow ones as well
#   make lint      ruff                   make types      mypy
#   make docs      the documentation as a site, in site/
#   make page      the denoiser as one page for a browser, in dist/denoise.html; needs npm, once with the network
#   make notebooks run the notebooks       make notebooks-save  run them and keep their outputs
#   make security  bandit, offline        make audit      pip-audit, which asks a database on the network
#   make fuzz      damage 2000 copies of files and read them (FUZZ=10000 ARGS="--data DIR"), see docs/reliability.md
#   make gpu       what is to be done on a GPU, in ten minutes: benchmarks, training, evaluation, in gpu_output/
#                  (CLIPS=clips.npz of tools/pack_clips.py; ARGS=--rehearse tries it on the processor)
#   make clean     remove what was built; .venv stays (make distclean removes it too)
# Options: PYTHON=python3.12 (3.11 or later), JOBS=2 (test processes), ARGS="..." (more options for pytest or the demo).

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
JOBS ?= 2
ARGS ?=
FUZZ ?= 2000
CLIPS ?= clips.npz

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# One thread for each test process: several threads in several processes slow each other down.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

.PHONY: venv demo test test-all lint types docs page notebooks notebooks-save security audit fuzz gpu clean distclean
.DELETE_ON_ERROR:

venv: $(STAMP)

# torch comes first and pinned, so that no later requirement can pull in another build of it.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version); the first time this takes some minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq -c constraints.txt setuptools torch </dev/null
	@$(PIP) install -qq -c constraints.txt --no-build-isolation -e ".[dev]" </dev/null
	@touch $@

demo: $(STAMP)
	GOMP_SPINCOUNT=10000 $(BIN)/python -m monai_stcnnt.apps.demo --output demo_output $(ARGS)

test: $(STAMP)
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(STAMP)
	$(PYTEST) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	@$(PIP) install -qq -c constraints.txt --no-build-isolation -e ".[docs]" </dev/null
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

page: $(STAMP)
	$(BIN)/python tools/build_page.py dist/denoise.html

notebooks: $(STAMP)
	@$(PIP) install -qq -c constraints.txt --no-build-isolation -e ".[notebooks]" </dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python notebooks/execute.py --jobs $(JOBS) $(ARGS)

notebooks-save: ARGS += --save
notebooks-save: notebooks

security: $(STAMP)
	$(BIN)/bandit -q -c pyproject.toml -r monai_stcnnt benchmarks tools bundles

# The pinned versions are looked up, not what is installed: a local build of torch is in no database.
audit: $(STAMP)
	@$(PIP) install -qq -c constraints.txt -e ".[audit]" --no-build-isolation </dev/null
	$(BIN)/pip-audit --no-deps --disable-pip -r constraints.txt

fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz_files $(FUZZ) --workers $(JOBS) $(ARGS)

# A machine with a GPU has a PyTorch of its own: make gpu GPU_PYTHON=python3.
GPU_PYTHON ?= $(BIN)/python
gpu:
	@test "$(GPU_PYTHON)" != "$(BIN)/python" || $(MAKE) venv
	$(GPU_PYTHON) tools/gpu_run.py --clips $(CLIPS) --output gpu_output $(ARGS)

clean:
	rm -rf build dist site *.egg-info demo_output .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find monai_stcnnt tests bundles -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
