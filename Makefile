# Works with GNU Make 3.81 and later.
PYTHON ?= python3
HARNESS = .environments/harness/bin/python -m harness
# Every variable that is set becomes an option.
CHOICE = $(if $(CASE),--case $(CASE)) $(if $(WS),--ws $(WS))
SETTING = $(CHOICE) $(if $(WEBSOCKETS),--websockets $(WEBSOCKETS)) \
	$(if $(WSPROTO),--wsproto $(WSPROTO)) $(if $(INTERPRETER),--python $(INTERPRETER))
RANGE = $(if $(GOOD),--good $(GOOD)) $(if $(BAD),--bad $(BAD)) $(if $(FIND),--find $(FIND))

.PHONY: help broken fixed try bisect bisect-commits survey check-evidence clients report readme test clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile
	@echo "Choices: CASE=server-headers|accept-headers|unsplit-offer|none, WS=auto|websockets|wsproto|websockets-sansio,"
	@echo "PYTHON=python3.12 to build with; for try and bisect WEBSOCKETS=latest and INTERPRETER=3.12 too."

broken: .environments/broken/ready ## show uvicorn 0.20.0 fail the handshake
	@.environments/broken/bin/python -I harness/trial.py $(CHOICE) --expect rejected

fixed: .environments/fixed/ready ## show uvicorn 0.19.0 open it
	@.environments/fixed/bin/python -I harness/trial.py $(CHOICE) --expect open

try: .environments/harness/ready ## does it still happen? UVICORN=0.31.0 (the newest), or SOURCE=path-to-checkout
	@$(HARNESS) try $(SETTING) $(if $(SOURCE),--source "$(SOURCE)",$(if $(UVICORN),--uvicorn $(UVICORN)))

bisect: .environments/harness/ready ## find the release that changed it: GOOD=0.12.0 BAD=latest FIND=break|fix
	@$(HARNESS) bisect $(RANGE) $(SETTING)

bisect-commits: .environments/harness/ready ## find the commit: REPO=path-or-url GOOD=0.19.0 BAD=0.20.0
	@$(HARNESS) bisect-commits --repo "$(REPO)" $(RANGE) $(SETTING)

survey: .environments/harness/ready ## judge every release again and write evidence/
	@$(HARNESS) survey

check-evidence: .environments/harness/ready ## measure both sides of every change in evidence/ again, and a handful more
	@$(HARNESS) check-evidence

clients: .environments/harness/ready ## who notices? dial the broken server with many clients (Node and Chromium if there)
	@$(HARNESS) clients

report: .environments/harness/ready ## a report to attach to an issue: make report > report.md
	@$(HARNESS) report $(SETTING) $(if $(OUTPUT),--output "$(OUTPUT)")

readme: .environments/harness/ready ## write the README's generated parts and the picture again
	@$(HARNESS) picture
	@.environments/harness/bin/python -m cogapp -I . -r README.md

test: .environments/harness/ready ## run the linters, the type checker and the tests (Python 3.10 or later)
	@.environments/harness/bin/python -m ruff format --check .
	@.environments/harness/bin/python -m ruff check .
	@.environments/harness/bin/python -m mypy
	@.environments/harness/bin/python -m pytest -n auto

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
