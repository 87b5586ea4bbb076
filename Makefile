# Needs Python 3.10-3.12, make and a package index. `make` alone lists the targets. What they do is in scripts/make.py,
# which does the same where there is no make: python scripts/make.py TARGET
.DEFAULT_GOAL := help

VENV ?= .venv
export VENV VENV_OPTIONS PHOTOS

# The first Python in range that truly runs: a pyenv shim of that name may lie on PATH and run nothing.
PYTHON ?= $(shell for python in python3.12 python3.11 python3.10 python3 python; do \
	if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
	>/dev/null 2>&1; then echo $$python; break; fi; done)

# Without one, an environment that is there will do.
help venv test test-all test-light test-queue test-notebooks lint format demo doctor clean:
	@python="$(PYTHON)"; \
	if [ -z "$$python" ] && [ -x "$(VENV)/bin/python" ]; then python="$(VENV)/bin/python"; fi; \
	if [ -z "$$python" ]; then \
		echo "make: no Python 3.10-3.12 that can make an environment was found: install one together with its" \
			"venv module (Debian, Ubuntu: apt-get install python3-venv), or name one: make PYTHON=/path/to/python" >&2; \
		exit 1; \
	fi; \
	PYTHON="$$python" "$$python" scripts/make.py $@

.PHONY: help venv test test-all test-light test-queue test-notebooks lint format demo doctor clean
