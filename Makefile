# The habits of this project. Every target installs what it needs into .venv; the machine needs git, make and
# Python 3.11 or newer. `make PYTHON=/path/to/python3.12 install` chooses the interpreter.

MINUTES ?= 30
# Each of three processes begins with one third of the tests, so that what a file prepares is prepared once; one that is
# done takes half of what another still has. Tests wait for the programs, browsers and databases that they start: on two
# cores, three processes leave little of them idle.
SPREAD := -n 3 --dist worksteal
# Long runs have targets of their own.
QUICK := not crash_long and not takeover_long and not delegation_long and not cluster and not large and not http_load and not wheels and not import_long and not typescript
PYTHON ?= $(shell for candidate in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$candidate && break; done)

ROOMS := actors config events projections
LINKS := $(addprefix tallystick/,$(ROOMS))
INSTALLED := .venv/.installed

# On Windows the programs of a venv are elsewhere, and without administrator rights folders are linked by junctions.
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
LINK = $(PYTHON) -c "import _winapi, os; _winapi.CreateJunction(os.path.abspath('$*'), os.path.abspath('$@'))"
else
BIN := .venv/bin
LINK = ln -s ../$* $@
endif

# What tests load is compiled once, whatever the shell says that make is started from.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo web pictures test thorough check bench crash takeover delegation cluster large overload soak
.PHONY: bench-peers imports wheels limits postgres logs clean chaos fuzz typescript
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile

install: $(INSTALLED) ## install everything that is needed into .venv

demo: install ## run a generated fleet through the real manager, live in this terminal
	$(BIN)/tallystick demo

web: ## build the dashboard from web/ into the package; needs node
	cd web && npm ci --ignore-scripts --no-audit --no-fund && node build.mjs

pictures: install ## take the pictures of the dashboard that the pages show, in a browser
	TALLYSTICK_PICTURES=1 $(BIN)/python -m pytest -n 0 tests/browser -k pictures

test: install ## run all tests except the long crash test
	$(BIN)/python -m pytest $(SPREAD) -m "$(QUICK)"

thorough: install ## run all tests, the slow properties with three times as many examples
	THOROUGH=1 $(BIN)/python -m pytest $(SPREAD) -m "$(QUICK)"

typescript: install ## run the published TypeScript client of the Cycles protocol: CLIENT is its dist/index.js; needs node
	CLIENT="$(CLIENT)" $(BIN)/python -m pytest -m typescript tests/cycles

check: install ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install ## measure the published figures on this machine
	$(BIN)/python -m benchmarks

bench-peers: install ## compare with other ways to keep budgets, each in an environment of its own below .venv-peers
	$(BIN)/python -m benchmarks.peers

crash: install ## kill the writer 200 times, and check the log each time
	$(BIN)/python -m pytest -m crash_long

takeover: install ## kill the writer of a shared fleet 20 times under load, stop it, wake it, and take its database away
	$(BIN)/python -m pytest -n 0 -s -m takeover_long

delegation: install ## let 100 fleets ask one parent for more than there is, in 1,000 simulated runs and 20 of real processes
	$(BIN)/python -m pytest $(SPREAD) -m delegation_long

fuzz: install ## play generated sessions through the live fleet for MINUTES (30), and shrink what they find
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

large: install ## prove fleets of 10,000 levels, 10,000 dependencies, 100,000 children, and 512 agents that share a pace
	$(BIN)/python -m pytest -n 0 -s -m large

overload: install ## let 64 clients ask a served fleet 10,000 times for more than there is, while it is killed
	$(BIN)/python -m pytest -n 0 -s -m http_load

cluster: install ## kill a worker, stop and lose a machine of three, with 300 fleets under load; the how-to of clusters
	TALLYSTICK_CLUSTER_FLEETS=300 $(BIN)/python -m pytest -n 0 -o log_cli=true -o log_cli_level=INFO tests/cluster
	$(BIN)/python -m pytest -n 0 -m cluster tests/docs

imports: install ## import a gigabyte of generated sessions, and say how fast and in how much memory
	$(BIN)/python -m pytest -n 0 -s -m import_long

soak: install ## serve for MINUTES (30) at half of what can be served, and show memory and latency by the minute
	$(BIN)/python -m benchmarks.soak $(MINUTES)

wheels: install ## install the wheel into fresh environments, with each extra alone and each Python that is here
	$(BIN)/python -m pytest -n 0 -m wheels

limits: install ## play 10,000 generated sessions under limits beside a model that keeps every use
	TALLYSTICK_LIMIT_SEEDS=10000 $(BIN)/python -m pytest $(SPREAD) tests/events/test_limits_against_a_model.py

postgres: install ## stop and kill PostgreSQL 50 times under load, and let two processes open 100 fleets at once
	TALLYSTICK_POSTGRES=long $(BIN)/python -m pytest -n 0 tests/contracts/test_postgres.py tests/actors/test_database_restarts.py

logs: install ## record anew the logs that decisions are compared with
	$(BIN)/python -m tests.support.decision_logs

chaos: install ## let specialists raise at 1,000 random messages, and compare with runs in which they do not
	TALLYSTICK_CHAOS_RUNS=1000 $(BIN)/python -m pytest tests/actors/test_chaos.py

clean: ## remove everything that was installed and built here
	rm -rf .venv .venv-peers build dist *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f $(LINKS)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The pins come first and the project after them without its dependencies, so that what is installed is exactly
# what requirements.txt says. The stamp is written last, so that an interrupted installation is repeated.
$(INSTALLED): pyproject.toml requirements.txt | $(LINKS) python
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv || { \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

# Type checkers, editors and tools see the whole package through these links; the wheel does not contain them.
$(LINKS): tallystick/%: | python
	$(LINK)

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "tallystick needs Python 3.11 or newer, and none was found; install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
