# `make help` lists the tasks. GNU Make 4; nothing else but Python 3.11 or newer is needed.
PROFILE ?= quick
JOBS ?= 2
PORT ?= 8000
VENV ?= .venv
ARGS ?=

PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip -qq --disable-pip-version-check install
READY := $(VENV)/.ready
BUILD := _build
EXECUTED := $(BUILD)/executed/$(PROFILE)
CHAPTERS := $(patsubst book/chapters/%.md,%,$(sort $(wildcard book/chapters/*.md)))
NOTEBOOKS := $(CHAPTERS:%=$(EXECUTED)/%.ipynb)
PACKAGE := $(shell find vcreg_theory -name "*.py" -o -name "*.toml")
PAGES := $(shell find book -type f -not -name '*.pyc' -not -path '*/.*') _config.yml $(wildcard data/benchmarks.json)
SITE := $(BUILD)/html/index.html
# parallel unless the caller has already chosen how parallel
PARALLEL = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

ifeq ($(filter $(PROFILE),quick full),)
$(error PROFILE is "$(PROFILE)"; it must be quick or full)
endif

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.PHONY: help book chapters html chapter test bench mutate serve check-site pdf lint clean clean-all FORCE

help:  ## list the tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
	@echo
	@echo '  PROFILE=quick|full  sample sizes of the chapters (default quick)'
	@echo '  JOBS=2              chapters run at the same time'

# The environment: all pins, then the package itself without its looser requirements.
$(READY): requirements.txt pyproject.toml
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@echo 'installing requirements.txt into $(VENV)'
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-%: requirements-%.txt $(READY)
	@$(PIP) -r $<
	@touch $@

# The book: chapters in parallel, each as its own dependencies ask; then the ledger; then the pages.
book: $(READY)  ## run the chapters, collect their checks, build the HTML
	@$(PYTHON) tools/structure.py $(CHAPTERS:%=book/chapters/%.md)
	@$(PYTHON) tools/dependencies.py
	@$(MAKE) -k $(PARALLEL) chapters || { for f in $(CHAPTERS:%=$(EXECUTED)/%.error.txt); do \
	  [ ! -f $$f ] || echo "failed: $$(grep -m1 . $$f) (report: $$f)" >&2; done; exit 1; }
	@$(MAKE) html
	@echo 'open $(CURDIR)/$(SITE)'

chapters: $(NOTEBOOKS)
	@:

-include $(wildcard $(BUILD)/deps/*.d)

$(EXECUTED)/%.ipynb: book/chapters/%.md | $(BUILD)/mplconfigdir/.ready
	@$(PYTHON) tools/execute.py $< $@ --profile $(PROFILE)

# matplotlib lists the fonts once, and would print a warning into a chapter if that took long
$(BUILD)/mplconfigdir/.ready: | $(READY)
	@mkdir -p $(@D)
	@MPLCONFIGDIR=$(@D) $(PYTHON) -c 'import matplotlib.font_manager'
	@touch $@

html: $(BUILD)/html.stamp
	@:

$(BUILD)/profile: FORCE
	@mkdir -p $(@D)
	@test "$$(cat $@ 2>/dev/null)" = '$(PROFILE)' || echo '$(PROFILE)' > $@

$(BUILD)/ledger.json: $(NOTEBOOKS) $(BUILD)/profile tools/ledger.py $(filter vcreg_theory/claims%,$(PACKAGE))
	@$(PYTHON) tools/ledger.py $@ $(NOTEBOOKS)

# Sphinx does not repeat the warnings of a page it has kept, so a strict build starts clean.
$(BUILD)/html.stamp: $(NOTEBOOKS) $(BUILD)/profile $(BUILD)/ledger.json $(PAGES) $(PACKAGE)
	@rm -rf $(BUILD)/html $(BUILD)/.doctrees $(BUILD)/jupyter_execute
	@$(VENV)/bin/jupyter-book build book -q -W -n --keep-going >/dev/null
	@touch $@

chapter: $(READY) $(BUILD)/mplconfigdir/.ready  ## run one chapter: NAME=12 ARGS="-p weight_decay 0.1"
	@set -- book/chapters/$(NAME)*.md; \
	if [ -z '$(NAME)' ] || [ $$# -ne 1 ] || [ ! -f "$$1" ]; then \
	  echo 'NAME="$(NAME)" must begin the name of one chapter:' $(CHAPTERS) >&2; exit 2; fi; \
	output=$(BUILD)/chapter/$$(basename "$$1" .md).ipynb; \
	$(PYTHON) tools/execute.py "$$1" $$output --profile $(PROFILE) $(ARGS) && echo $$output

test: $(VENV)/.ready-peers  ## run the tests
	@$(PYTHON) -m pytest $(ARGS)

bench: $(VENV)/.ready-peers  ## measure speed, compare with what is stored; ARGS=--store stores it anew
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -o addopts=-q tests/benchmarks $(ARGS)

mutate: $(VENV)/.ready-peers  ## make small mistakes, count those the tests notice: ARGS="losses --count 30"
	@OMP_NUM_THREADS=1 $(PYTHON) tools/mutate.py $(ARGS)

serve: book  ## build the book and serve it on this machine
	@echo 'http://localhost:$(PORT)/ (Ctrl-C ends it)'
	@$(PYTHON) -m http.server -d $(BUILD)/html -b localhost $(PORT) >/dev/null 2>&1 \
	  || { echo 'the server ended; if at once, the port is taken: make serve PORT=8001' >&2; exit 1; }

check-site: book $(VENV)/.ready-web  ## open every page in Chromium and report what is wrong
	@$(PYTHON) tools/check_site.py $(BUILD)/html $(ARGS)

pdf: book $(VENV)/.ready-web  ## print the whole book to _build/book.pdf
	@rm -rf $(BUILD)/singlehtml
	@$(VENV)/bin/jupyter-book build book -q --builder singlehtml >/dev/null
	@$(PYTHON) tools/print_pdf.py $(BUILD)/singlehtml/index.html $(BUILD)/book.pdf
	@echo $(BUILD)/book.pdf

lint: $(VENV)/.ready-lint  ## check style, format and types of the Python files
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

clean:  ## remove what was built
	rm -rf $(BUILD)

clean-all: clean  ## remove the virtual environment too
	rm -rf $(VENV)
