# GNU Make 3.81 and later. Python 3.8 and later for `broken` and `fixed`, 3.10 and later for everything else.
PYTHON ?= python3

help:
	@sed -n 's/^## \{0,1\}//p' Makefile
## make broken           uvicorn 0.20.0: the handshake fails    (WS=wsproto: another implementation)
## make fixed            uvicorn 0.19.0: the same handshake opens
##
## Which uvicorn did it? Each takes HELP=yes, which lists what can be asked; harness/README.md tells it at length.
## make try              does it still happen? UVICORN=0.31.0, or SOURCE=checkout
## make bisect           the release that changed it: CASE=accept-headers, APP=file.py:app, RUN="pytest test.py"
## make bisect-commits   the commit that did
## make survey           every release, and every change
## make report           a report to start a discussion with
## make lesson           predict, run, see why; then judge a bisect yourself
##
## For maintainers: what was measured, and the tests
## make clients servers  who notices, who sends it; `make evidence` measures all that this machine can, and writes it
## make upstream         test the proposal for uvicorn
## make test             the linters and the tests; test-all and test-faults take minutes
## make readme           write the generated table and page again
## make clean            remove what was built

# The exit statuses of client.py for `rejected` and `open`.
broken: WANTED = 1
fixed: WANTED = 0
broken fixed: %: .environments/%/ready
	@.environments/$@/bin/python client.py $(if $(GIVEN),--ws '$(WS)'); [ $$? = $(WANTED) ] || $(NOT_SHOWN)
NOT_SHOWN = { echo 'make $@: this is not what it shows with server.py as it was; if it is, try make clean first' >&2; exit 1; }

# An environment is built aside, and named once it is whole; of several makes at once, the first wins.
.environments/%/ready: requirements-%.txt
	@echo "Building $(@D) (once)" >&2; mkdir -p .environments; new=$(@D).$$$$; trap 'rm -rf $$new' EXIT; set -e; \
	$(if $(filter harness tests,$*),$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "$(TOO_OLD)")';) \
	if command -v uv >/dev/null; then uv venv -q --no-project --no-python-downloads --python $(PYTHON) $$new; \
	uv pip install -q --python $$new -r $<; \
	else $(PYTHON) -m venv $$new; $$new/bin/python -m pip install -q --disable-pip-version-check -r $<; fi; \
	touch -r $< $$new/ready; [ ! -e $(@D) ] || $(WHOLE) || rm -rf $(@D); \
	$(PYTHON) -c 'import os, sys; os.rename(*sys.argv[1:])' $$new $(@D) 2>/dev/null || $(WHOLE)
WHOLE = { [ -e $@ ] && [ ! $@ -ot $< ]; }
TOO_OLD = make: this needs Python 3.10 or later: try PYTHON=python3.12

clean:
	rm -rf .environments

# The tool and the evidence get the variables of make's command line, as they were typed.
HARNESS = try bisect bisect-commits survey report lesson
EVIDENCE = clients servers evidence
vpath requirements-%.txt harness tests
GIVEN := $(filter-out PYTHON,$(foreach v,$(.VARIABLES),$(if $(findstring command,$(origin $v)),$v)))
$(if $(and $(filter broken fixed,$(MAKECMDGOALS)),$(filter-out WS,$(GIVEN))),\
	$(error make $(MAKECMDGOALS) knows WS and PYTHON, not $(filter-out WS,$(GIVEN))))
define NEWLINE


endef
# A line end would end the line of the recipe, so the shell puts it in.
WORDS = $(foreach v,$(GIVEN),'$v=$(subst $(NEWLINE),'"$$newline"',$(subst ','\'',$(value $v)))')
RUN_IN = newline=$$(printf '\nx'); newline=$${newline%x}; [ -x .environments/$1/bin/python ] || \
	{ echo 'make $@: the Python of .environments is gone; make clean, and then again' >&2; exit 1; }; .environments/$1/bin/python -m

$(HARNESS): .environments/harness/ready
	@$(call RUN_IN,harness) harness $@ $(WORDS) || [ $$? = 1 ]  # rejected is an answer, not a failure

$(EVIDENCE): .environments/harness/ready
	@$(call RUN_IN,harness) evidence $@ $(WORDS)

upstream: .environments/tests/ready
	@.environments/tests/bin/python -m pytest -q upstream

readme: .environments/tests/ready
	@.environments/tests/bin/python -m cogapp -I . -r harness/README.md
	@.environments/tests/bin/python -m evidence page

test: .environments/tests/ready
	@.environments/tests/bin/python -m ruff format --check -q .
	@.environments/tests/bin/python -m ruff check -q .
	@.environments/tests/bin/python -m mypy
	@.environments/tests/bin/python -m pytest -q -n 3 -m 'not weekly'  # many of them wait

test-all: .environments/tests/ready
	@.environments/tests/bin/python -m pytest -q -n auto

test-faults: .environments/tests/ready
	@FAULTS=1 .environments/tests/bin/python -m pytest -q tests/faults

.PHONY: help broken fixed $(HARNESS) $(EVIDENCE) upstream readme test test-all test-faults clean
