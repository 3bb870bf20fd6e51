# Works with GNU Make 3.81 and later.
PYTHON ?= python3
HARNESS = .environments/harness/bin/python -m harness
BY_HAND = bin/python -I harness/trial.py

# Each verb with the variables that it knows; one that it does not know is refused, rather than dropped.
SETTING = CASE WS WEBSOCKETS WSPROTO INTERPRETER APP OFFER URLPATH HEADER WITH REQUIREMENTS
OWN = $(SETTING) RUN LIMIT PATCH RUNS JSON
broken-knows = CASE WS
fixed-knows = CASE WS
try-knows = UVICORN SOURCE $(OWN)
bisect-knows = GOOD BAD FIND $(OWN)
bisect-commits-knows = REPO GOOD BAD FIND $(OWN)
survey-knows = INTERPRETER OUTPUT
compare-knows = FILES
check-evidence-knows = INTERPRETER
report-knows = OUTPUT $(SETTING)
EVERY = UVICORN SOURCE REPO GOOD BAD FIND OUTPUT FILES $(OWN)

# A variable that the target knows becomes the option of its name, quoted for the shell.
option = $(if $(and $(filter $1,$($@-knows)),$(value $1)),--$2 '$(subst ','\'',$(value $1))')
OPTIONS = $(strip $(call option,UVICORN,uvicorn) $(call option,SOURCE,source) $(call option,REPO,repo) \
	$(call option,GOOD,good) $(call option,BAD,bad) $(call option,FIND,find) $(call option,OUTPUT,output) \
	$(call option,CASE,case) $(call option,WS,ws) $(call option,WEBSOCKETS,websockets) $(call option,WSPROTO,wsproto) \
	$(call option,INTERPRETER,python) $(call option,APP,app) $(call option,OFFER,offer) $(call option,URLPATH,path) \
	$(call option,HEADER,header) $(call option,WITH,with) $(call option,REQUIREMENTS,requirements) \
	$(call option,RUN,run) $(call option,LIMIT,limit) $(call option,PATCH,patch) $(call option,RUNS,runs) \
	$(call option,JSON,json))
unknown = $(foreach name,$(filter-out $($@-knows),$(EVERY)),$(if $(findstring command,$(origin $(name))),$(name)))
check = $(if $(strip $(unknown)),$(error make $@ does not take $(strip $(unknown)); it takes $(or $($@-knows),no variables)))

.PHONY: help broken fixed try bisect bisect-commits survey compare check-evidence clients servers report upstream lesson readme test test-all test-faults clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

broken: .environments/broken/ready ## show uvicorn 0.20.0 fail the handshake
	$(check)@.environments/broken/$(BY_HAND) $(OPTIONS) --expect rejected

fixed: .environments/fixed/ready ## show uvicorn 0.19.0 open it
	$(check)@.environments/fixed/$(BY_HAND) $(OPTIONS) --expect open

try: .environments/harness/ready ## does it still happen? UVICORN=0.31.0 (the newest), or SOURCE=path-to-checkout
	$(check)@$(HARNESS) $@ $(OPTIONS)

bisect: .environments/harness/ready ## find the release that changed it: GOOD=0.12.0 BAD=latest FIND=break|fix
	$(check)@$(HARNESS) $@ $(OPTIONS)

bisect-commits: .environments/harness/ready ## find the commit: REPO=path-or-url GOOD=0.19.0 BAD=0.20.0
	$(check)@$(HARNESS) $@ $(OPTIONS)

survey: .environments/harness/ready ## judge every release again and write evidence/
	$(check)@$(HARNESS) $@ $(OPTIONS)

compare: .environments/harness/ready ## what differs between surveys: FILES="evidence/survey.json others.json"
	$(check)@$(HARNESS) $@ -- $(foreach name,$(FILES),'$(subst ','\'',$(name))')

check-evidence: .environments/harness/ready ## measure both sides of every change in evidence/ again, and a handful more
	$(check)@$(HARNESS) $@ $(OPTIONS)

clients: .environments/harness/ready ## who notices? dial the broken server with many clients (Node and browsers if there)
	$(check)@$(HARNESS) $@ $(OPTIONS)

servers: .environments/harness/ready ## who sends it? the same app behind other ASGI servers
	$(check)@$(HARNESS) $@ $(OPTIONS)

report: .environments/harness/ready ## a report to attach to an issue: make report > report.md
	$(check)@$(HARNESS) $@ $(OPTIONS)

upstream: .environments/harness/ready ## prove the proposal for uvicorn in upstream/ against the newest release
	$(check)@$(HARNESS) $@ $(OPTIONS)

lesson: .environments/harness/ready ## twenty minutes in five steps: predict, run, see; then judge a bisect yourself
	$(check)@$(HARNESS) $@ $(OPTIONS)

readme: .environments/harness/tools ## write the README's generated parts and the picture again
	$(check)@$(HARNESS) picture
	@.environments/harness/bin/python -m cogapp -I . -r README.md

test: .environments/harness/tools ## run the linters, the type checker and the tests (Python 3.10 or later)
	$(check)@.environments/harness/bin/python -m ruff format --check .
	@.environments/harness/bin/python -m ruff check .
	@.environments/harness/bin/python -m mypy
	@.environments/harness/bin/python -m pytest -n auto -m 'not fault and not weekly'

test-all: .environments/harness/tools ## the tests, with those that take minutes: every Python here, the whole proof
	$(check)@.environments/harness/bin/python -m pytest -n auto -m 'not fault'

test-faults: .environments/harness/tools ## put in every fault, and count what they do (some minutes)
	$(check)@FAULTS=1 .environments/harness/bin/python -m pytest -q tests/faults

clean: ## remove the environments
	rm -rf .environments

# One rule for all: whole or absent, with uv where it is on PATH, else with venv and pip.
.environments/%/ready: requirements-%.txt requirements-broken.txt
	@$(PYTHON) harness/environment.py $< $(@D)

# What the tests and the README need on top.
.environments/harness/tools: tests/requirements.txt .environments/harness/ready
	@.environments/harness/bin/python harness/environment.py $< $(@D)
