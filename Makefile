.DEFAULT_GOAL := help
.PHONY: help run demo test check docs migrations ci

PYTHON := .venv/bin/python

help:  ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Its own mark: a virtual environment that the README's commands made may lack the tools.
.venv/.made: pyproject.toml
	python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && touch .venv/.made

run: .venv/.made  ## serve the panel
	$(PYTHON) main.py

demo: .venv/.made  ## serve the panel with a made-up community
	$(PYTHON) main.py --demo

test: .venv/.made  ## run the tests
	$(PYTHON) -m pytest

check: .venv/.made  ## check style and types
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

docs: .venv/.made  ## build the documentation into site/
	.venv/bin/pip install --quiet -e '.[docs]' && .venv/bin/mkdocs build --strict

migrations: .venv/.made  ## write a migration for what changed in the tables
	PYTHONHASHSEED=0 .venv/bin/piccolo migrations new community_directory --auto

ci:  ## run everything that must pass before a change lands
	.ci/run
