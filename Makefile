# Thin: each target sets up what it needs and calls one script. What is up to date, snakemake decides (workflow/).
VENV_PYTHON := .venv/bin/python
export MAMMOTH_ROOT := $(CURDIR)
# One thread a process: two processes on two cores are faster than one on two, and the numbers stay the same.
export OMP_NUM_THREADS := 1
export TOKENIZERS_PARALLELISM := false
export JUPYTER_PREFER_ENV_PATH := 1
CORES ?= 2
PAGES := $(wildcard notebooks/*.ipynb)

# What stands behind `make` as NAME=value. `train` checks its own; a name that no target reads is refused.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
KNOWN := CORES RECORD PORT ARGS PYTHON BASE MAMMOTH_%
ifeq ($(filter train,$(MAKECMDGOALS)),)
ifneq ($(filter-out $(KNOWN),$(GIVEN)),)
$(error unknown variable $(filter-out $(KNOWN),$(GIVEN)); known: CORES (book, test), BASE (real), RECORD (check-record), \
PORT (serve), ARGS (speed), PYTHON (setup); `make train` takes every parameter of its page)
endif
endif

.PHONY: help setup book book-full real check-record try test test-long test-browser check fix speed data lab serve train clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 16

setup:  ## make .venv (done by every other target too)
	@sh workflow/setup.sh

book: setup  ## train the miniature, execute the pages, build _build/html
	@$(VENV_PYTHON) workflow/book.py --cores $(CORES)

book-full: setup  ## the same with every seed and size of the miniature (two to three hours)
	@MAMMOTH_GRID=$${MAMMOTH_GRID:-workflow/grids/full.yaml} $(VENV_PYTHON) workflow/book.py --cores $(CORES)

real: setup  ## a real model of half a billion parameters, trained and asked here: make real BASE=FILE.gguf (a night)
	@$(VENV_PYTHON) workflow/real.py --base "$(BASE)"

check-record: setup  ## make RECORD=records/... again and print the difference
	@$(VENV_PYTHON) workflow/check_record.py $(if $(RECORD),"$(RECORD)",)

try: setup  ## one problem, from its prompt to both verdicts
	@$(VENV_PYTHON) workflow/try.py

test: setup  ## the tests that take seconds each
	@echo "test: about 5,700 tests, 6 to 10 minutes on two free cores; one file: .venv/bin/python -m pytest -q tests/test_pages.py"
	@$(VENV_PYTHON) -m pytest -q -n $(CORES) --dist worksteal

# Files side by side, then one at a time the tests that use every core or measure time.
test-long: setup  ## the tests that take minutes: kills, fresh environments, many processes
	@echo "test-long: about 25 minutes on two free cores"
	@status=0; \
	  $(VENV_PYTHON) -m pytest -q -n $(CORES) --dist loadfile --durations=25 -m "long and not alone and not gpu and not network" || status=1; \
	  $(VENV_PYTHON) -m pytest -q --durations=15 -m "long and alone and not gpu and not network" || status=1; exit $$status

test-browser: setup  ## the built book, page by page, in the Chromium of this machine with the network blocked
	@$(VENV_PYTHON) -m pip install --quiet -e '.[browser]'
	@$(VENV_PYTHON) -m pytest -q -rs -m browser tests/test_browser.py

check: setup  ## lint and format, without changing anything
	@$(VENV_PYTHON) -m ruff check . && $(VENV_PYTHON) -m ruff format --check .

fix: setup  ## lint and format, changing what can be changed
	@$(VENV_PYTHON) -m ruff check --fix . ; $(VENV_PYTHON) -m ruff format . && $(VENV_PYTHON) -m nbstripout $(PAGES)

speed: setup  ## every speed run in speed/, as tables
	@$(VENV_PYTHON) -m pip install --quiet -e '.[speed]'
	@for script in speed/[a-z]*.py; do echo "== $$script"; $(VENV_PYTHON) "$$script" $(ARGS) || exit 1; done

data: setup  ## fetch the public evaluation sets and training files into data/
	@$(VENV_PYTHON) -m mammoth_utils.curation.sources.download

lab: setup  ## open the pages in JupyterLab
	@$(VENV_PYTHON) workflow/lab.py

serve: book  ## build the book and show it on this machine's port 8000
	@$(VENV_PYTHON) workflow/serve.py $(or $(PORT),8000)

train: setup  ## one training page, with any of its parameters: make train SIZE=1m METHOD=qlora MIXTURE=pot SEED=1 ...
	@GIVEN="$(GIVEN)" $(VENV_PYTHON) workflow/train.py

clean:  ## remove the built HTML and the pages' runs; .venv, models, data and training runs stay
	@rm -rf _build runs/book .snakemake
