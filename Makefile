# Works with GNU Make 3.81 and later.
PYTHON ?= python3
CASE ?= server-headers
WS ?= auto
TRIAL = -I harness/trial.py --case $(CASE) --ws $(WS)

.PHONY: help broken fixed test clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile
	@echo "CASE=server-headers, accept-headers, unsplit-offer or none chooses who sends what,"
	@echo "WS=auto, websockets, wsproto or websockets-sansio the implementation, PYTHON=python3.12 the interpreter."

broken: .environments/broken/ready ## show uvicorn 0.20.0 fail the handshake
	@.environments/broken/bin/python $(TRIAL) --expect rejected

fixed: .environments/fixed/ready ## show uvicorn 0.19.0 open it
	@.environments/fixed/bin/python $(TRIAL) --expect open

test: .environments/harness/ready ## run the linters, the type checker and the tests (Python 3.10 or later)
	@.environments/harness/bin/python -m ruff format --check .
	@.environments/harness/bin/python -m ruff check .
	@.environments/harness/bin/python -m mypy
	@.environments/harness/bin/python -m pytest

clean: ## remove the environments
	rm -rf .environments

.environments/harness/ready: requirements-broken.txt

# Built aside and renamed once finished, so a broken-off build is never used, and of several at once one wins.
.environments/%/ready: requirements-%.txt
	@case $* in harness) $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "The harness needs Python 3.10 or later: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; } ;; esac
	@echo "Building an environment from $< (once)"
	@mkdir -p .environments; new=$$(mktemp -d .environments/building.XXXXXX) && \
	trap 'rm -rf "$$new"' EXIT && trap 'exit 130' INT TERM && \
	{ $(PYTHON) -m venv "$$new" && "$$new/bin/python" -m pip install --quiet --disable-pip-version-check -r $< || \
		{ echo "Could not install $<: see pip's message above, check the network or pip's index, and run make again." >&2; exit 1; }; } && \
	touch "$$new/ready" && { { [ -f "$@" ] && [ -z "$$(find $^ -newer "$@")" ]; } || rm -rf "$(@D)"; } && \
	{ $(PYTHON) -c 'import os, sys; os.rename(*sys.argv[1:])' "$$new" "$(@D)" 2>/dev/null || [ -f "$@" ]; }
