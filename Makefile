# Thin: each target sets up what it needs and calls one script. What is up to date, snakemake decides (workflow/).
PYTHON := .venv/bin/python
export MAMMOTH_ROOT := $(CURDIR)
# One thread a process: two processes on two cores are faster than one on two, and the numbers stay the same.
export OMP_NUM_THREADS := 1
export TOKENIZERS_PARALLELISM := false
export JUPYTER_PREFER_ENV_PATH := 1
CORES ?= 2
SIZE ?= 1m
PAGES := $(wildcard notebooks/*.ipynb)

.PHONY: help setup book book-full check-record try test test-long check fix speed data lab serve train clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 16

setup:  ## make .venv (done by every other target too)
	@sh workflow/setup.sh

book: setup  ## train the miniature, execute the pages, build _build/html
	@$(PYTHON) workflow/book.py --cores $(CORES)

book-full: setup  ## the same with every seed and size of the miniature (about 20 minutes)
	@MAMMOTH_GRID=$${MAMMOTH_GRID:-workflow/grids/full.yaml} $(PYTHON) workflow/book.py --cores $(CORES)

check-record: setup  ## make RECORD=records/... again and print the difference
	@$(PYTHON) workflow/check_record.py $(if $(RECORD),"$(RECORD)",)

try: setup  ## one problem, from its prompt to both verdicts
	@$(PYTHON) workflow/try.py

test: setup  ## the tests that take seconds each
	@$(PYTHON) -m pytest -q -n $(CORES) --dist worksteal

# Files side by side, then one at a time the tests that use every core or measure time.
test-long: setup  ## the tests that take minutes: kills, fresh environments, many processes
	@status=0; \
	  $(PYTHON) -m pytest -q -n $(CORES) --dist loadfile -m "long and not alone and not gpu and not network" || status=1; \
	  $(PYTHON) -m pytest -q -m "long and alone and not gpu and not network" || status=1; exit $$status

check: setup  ## lint and format, without changing anything
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .

fix: setup  ## lint and format, changing what can be changed
	@$(PYTHON) -m ruff check --fix . ; $(PYTHON) -m ruff format . && $(PYTHON) -m nbstripout $(PAGES)

speed: setup  ## every speed run in speed/, as tables
	@$(PYTHON) -m pip install --quiet -e '.[speed]'
	@for script in speed/[a-z]*.py; do echo "== $$script"; $(PYTHON) "$$script" $(ARGS) || exit 1; done

data: setup  ## fetch the public evaluation sets and training files into data/
	@$(PYTHON) -m mammoth_utils.curation.sources.download

lab: setup  ## open the pages in JupyterLab
	@$(PYTHON) -m jupyterlab --notebook-dir=. notebooks

serve: book  ## build the book and show it on this machine's port 8000
	@$(PYTHON) -m http.server --bind 127.0.0.1 --directory _build/html $(or $(PORT),8000)

train: setup  ## one training page: make train SIZE=1m METHOD=qlora MIXTURE=pot SEED=1 ...
	@$(PYTHON) workflow/train.py size=$(SIZE) $(if $(FAMILY),family=$(FAMILY)) $(if $(METHOD),method=$(METHOD)) \
	  $(if $(MIXTURE),mixture=$(MIXTURE)) $(if $(DATASET),dataset=$(DATASET)) $(if $(BASE),base=$(BASE)) \
	  $(if $(SEED),seed=$(SEED)) $(if $(MAX_STEPS),max_steps=$(MAX_STEPS)) $(if $(NAME),name=$(NAME))

clean:  ## remove the built HTML and the pages' runs; .venv, models, data and training runs stay
	@rm -rf _build runs/book .snakemake
