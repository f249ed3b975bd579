.DEFAULT_GOAL := help
.PHONY: help run demo test faults check docs messages migrations constraints hooks ci

PYTHON := .venv/bin/python

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A file of its own: a .venv that the commands of the README created may lack the tools.
.venv/.made: pyproject.toml
	python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && touch .venv/.made

run: .venv/.made  ## serve the panel
	$(PYTHON) main.py

demo: .venv/.made  ## serve the panel with a demo community
	$(PYTHON) main.py --demo

test: .venv/.made  ## run the tests
	$(PYTHON) -m pytest

faults: .venv/.made  ## kill servers, fill a disk and promote standbys (as root: a test mounts a disk)
	$(PYTHON) -m pytest -m faults --numprocesses=0

check: .venv/.made  ## check style, types and imports
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

docs: .venv/.made  ## build the documentation into site/
	.venv/bin/pip install --quiet -e '.[docs]' && .venv/bin/mkdocs build --strict

messages: .venv/.made  ## bring the catalogs of translations up to date with the code
	$(PYTHON) -m tools.update_catalogs

migrations: .venv/.made  ## write a migration for what changed in the tables
	PYTHONHASHSEED=0 .venv/bin/piccolo migrations new community_directory --auto

constraints: .venv/.made  ## write the newest allowed version of each dependency into constraints.txt
	$(PYTHON) tools/make_constraints.py

hooks: .venv/.made  ## check style before each commit
	.venv/bin/pre-commit install

ci:  ## run everything that must pass before a change is merged
	.ci/run
