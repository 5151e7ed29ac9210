# make help lists the targets.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install check test lint types floors format pictures docs constraints bench bench-quick clean \
	crash crash-kills crash-accepted crash-leases crash-faults crash-outages

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: ## a virtual environment with everything, versions as tested
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e ".[test,lint]" -c constraints.txt

check: test lint types floors ## what CI runs

test: ## all tests
	$(BIN)/python -m pytest -q -n auto

lint: ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: ## mypy, strict, over package and tests
	$(BIN)/mypy

floors: ## imports go down, never up
	$(BIN)/lint-imports

format: ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pictures: ## draw the pictures of README and docs again
	$(BIN)/python docs/pictures.py

docs: ## the site, in build/site; offline
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

constraints: ## write down the versions that are installed now
	$(BIN)/pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' > constraints.txt

bench: ## every benchmark, in full
	for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

bench-quick: ## every benchmark, quickly
	for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file --quick || exit 1; done

crash: crash-kills crash-accepted crash-leases crash-faults crash-outages ## the long campaign: about half an hour

crash-kills: ## 2,400 kills at every write, all patterns, both stores, all doors
	$(BIN)/python -m tests.crash.kills --kills 2400

crash-accepted: ## 200 runs killed before their first checkpoint
	$(BIN)/python -m tests.crash.accepted --runs 200

crash-leases: ## 200 rounds of 2 to 8 processes that resume one run
	$(BIN)/python -m tests.crash.leases --rounds 200 --jobs 2

crash-faults: ## 10,000 runs with faults of providers and of the database
	$(BIN)/python -m tests.crash.faults --runs 10000

crash-outages: ## 200 runs while PostgreSQL is restarted again and again
	$(BIN)/python -m tests.crash.outages --runs 200

clean: ## what tests and builds leave behind
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
