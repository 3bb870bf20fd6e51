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
## make test             the linters and the tests; test-all and test-faults take minutes; upstream tests the proposal
## make readme clean     write the generated table and page again; remove what was built

# The exit statuses of client.py for `rejected` and `open`.
broken: WANTED = 1
fixed: WANTED = 0
broken fixed: %: .environments/%/ready
	@.environments/$@/bin/python client.py $(if $(GIVEN),--ws "$$WS"); case $$? in $(WANTED)) ;; 2) exit 2 ;; *) \
	echo 'make $@: that is not what an unchanged server.py shows; if yours is unchanged, make clean' >&2; exit 1 ;; esac

# An environment is built aside, and named once it is whole. Its files are copies: whoever edits one edits no cache of
# uv's. Of several makes at once the first one names it: mv puts what the others built into it, and they take that away.
# What is there and no longer fits goes first.
.environments/%/ready: requirements-%.txt
	@echo "Building $(@D) (once)" >&2; set -e; mkdir -p .environments; new=.environments/new.$$$$; \
	trap 'rm -rf $$new $(@D)/new.$$$$' EXIT; trap 'exit 1' HUP INT TERM; \
	$(if $(filter harness tests,$*),$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	"make: this needs Python 3.10 or later: try PYTHON=python3.12")';) \
	[ ! -e $(@D) ] || { [ -e $@ ] && [ ! $@ -ot $< ]; } || rm -rf $(@D); \
	if command -v uv >/dev/null; then uv venv -q --no-project --no-python-downloads --python $(PYTHON) $$new; \
	uv pip install -q --link-mode copy --python $$new -r $<; \
	else $(PYTHON) -m venv $$new; $$new/bin/python -m pip install -q --disable-pip-version-check -r $<; fi; \
	touch -r $< $$new/ready; mv $$new $(@D)
vpath requirements-%.txt harness tests
# What has lost its Python is built anew.
$(shell for name in broken fixed harness tests; do \
	[ ! -e .environments/$$name/ready ] || [ -x .environments/$$name/bin/python ] || rm -rf .environments/$$name; done)
clean:
	rm -rf .environments

# What stands on make's command line goes into the environment as it was typed: `override` expands no $ in it.
GIVEN := $(filter-out PYTHON,$(foreach v,$(.VARIABLES),$(if $(findstring command,$(origin $v)),$v)))
$(foreach v,$(GIVEN),$(eval override $v := $$(value $v))$(eval export $v))
$(if $(and $(filter broken fixed,$(MAKECMDGOALS)),$(filter-out WS,$(GIVEN))),\
	$(error make $(MAKECMDGOALS) knows WS and PYTHON, not $(filter-out WS,$(GIVEN))))
WORDS = $(foreach v,$(GIVEN),"$v=$$$v")

HARNESS = try bisect bisect-commits survey report lesson
EVIDENCE = clients servers evidence
$(HARNESS): .environments/harness/ready
	@.environments/harness/bin/python -m harness $@ $(WORDS) || [ $$? = 1 ]  # rejected is an answer, not a failure
$(EVIDENCE): .environments/harness/ready
	@.environments/harness/bin/python -m evidence $@ $(WORDS)

TESTS = .environments/tests/bin/python -m
upstream readme test test-all test-faults: .environments/tests/ready
upstream:
	@$(TESTS) pytest -q upstream
readme:
	@$(TESTS) cogapp -I . -r harness/README.md
	@$(TESTS) evidence page
test:
	@$(TESTS) ruff format --check -q .
	@$(TESTS) ruff check -q .
	@$(TESTS) mypy
	@$(TESTS) pytest -q -n 3 -m 'not weekly'  # many of them wait
test-all:
	@$(TESTS) pytest -q -n auto
test-faults:
	@FAULTS=1 $(TESTS) pytest -q tests/faults

.PHONY: help broken fixed clean $(HARNESS) $(EVIDENCE) upstream readme test test-all test-faults
