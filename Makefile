# Needs Python 3.10-3.12, make and a package index. `make` alone lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
RUN := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first Python in range that truly runs: a pyenv shim of that name may lie on PATH and run nothing.
PYTHON ?= $(shell for python in python3.12 python3.11 python3.10 python3 python; do \
	if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
	>/dev/null 2>&1; then echo $$python; break; fi; done)

# The stamp's name holds a checksum of what the environment is made from, and of where it lies: it is stale exactly
# when one of these changes, whatever a checkout does to the files' times.
INPUTS := setup.py pyproject.toml detection/version.py scripts/install_detectron2.py
STAMP := $(VENV)/.ready-$(shell { pwd; cat $(INPUTS); } | cksum | cut -d' ' -f1)

help: ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' \
		| while IFS='|' read -r name what; do printf '  %-10s %s\n' "$$name" "$$what"; done

venv: $(STAMP) ## build .venv when it is missing or stale (the other targets do it by themselves)

test: $(STAMP) ## run the fast tests (offline, about four minutes on 2 cores)
	$(RUN) -m pytest -m "not slow and not gpu"

test-all: $(STAMP) ## run all tests but those that need a GPU
	$(RUN) -m pytest -m "not gpu"

test-queue: $(STAMP) ## run the tests of the queue, with a RabbitMQ server that they start
	$(RUN) -m pytest tests/carclf/service/test_broker.py

lint: $(STAMP) ## check style, format, types, which room imports which, and the map of the rooms
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy && $(RUN) -m mypy --platform win32
	$(VENV)/bin/lint-imports --no-logo
	$(RUN) scripts/draw_architecture.py --check

format: $(STAMP) ## mend style and format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

demo: $(STAMP) ## the whole job on drawn scenes; PHOTOS=dir names the cars on your own photos instead
ifdef PHOTOS
	$(VENV)/bin/carclf predict "$(PHOTOS)"
else
	$(VENV)/bin/carclf demo
endif

doctor: $(STAMP) ## say what is installed and what mends what is missing
	$(VENV)/bin/carclf doctor

clean: ## remove caches and build leftovers; .venv, runs and data stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# An environment that runs is kept and completed (no network is needed for what it has); one that does not is made anew.
# Where setuptools is there already, the build uses it: no isolated download.
$(STAMP):
	@if ! $(RUN) -m pip --version >/dev/null 2>&1; then \
		python="$(PYTHON)"; \
		if [ -z "$$python" ]; then \
			echo "make: no Python 3.10-3.12 that can make an environment was found: install one together with its" \
				"venv module (Debian, Ubuntu: apt-get install python3-venv), or name one: make PYTHON=/path/to/python" >&2; \
			exit 1; \
		fi; \
		echo "Building $(VENV) with $$python: some minutes and about 6 GB, once."; \
		"$$python" -m venv --clear $(VENV_OPTIONS) $(VENV) || { \
			echo "make: $$python could not make $(VENV): install its venv module (Debian, Ubuntu: apt-get install" \
				"python3-venv), or name another Python: make PYTHON=/path/to/python" >&2; exit 1; }; \
	fi
	$(RUN) -m pip install -e '.[dev]' \
		$$($(RUN) -c 'import setuptools.command.bdist_wheel' >/dev/null 2>&1 && echo --no-build-isolation)
	$(RUN) scripts/install_detectron2.py
	@rm -f $(VENV)/.ready-*
	@touch $@

.PHONY: help venv test test-all test-queue lint format demo doctor clean
