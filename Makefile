# Every target finds its tools in .venv by itself; all that is needed beforehand is make and a Python from 3.11 to 3.14.

.PHONY: help setup run test check fix bench lock
.DELETE_ON_ERROR:
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without bytecode every process that starts would compile all of Django first: two seconds, each time.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
INSTALLED := .venv/.installed

help:
	@echo "make run    start the portal with a demo (make PORT=8001 run: on another port)"
	@echo "make test   all tests, on SQLite and on PostgreSQL"
	@echo "make check  format, lint, types, floors, migrations, system checks; changes nothing"
	@echo "make fix    put format and imports right"
	@echo "make bench  how fast it is on this machine, beside a plain importer"
	@echo "make lock   renew requirements/*.txt from pyproject.toml"

setup: $(INSTALLED)

# The first Python that is new enough and can make an environment; `python3` is asked first.
$(INSTALLED): requirements/dev.txt
	@if [ -L .venv ]; then \
		echo ".venv is a link to an environment that others may use. It is out of date; renew it where it belongs." >&2; \
		exit 2; \
	fi
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14; do \
		if $$python -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
			2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "No Python from 3.11 to 3.14 with its venv module was found (on Debian: apt install python3-venv)." >&2; \
		exit 2; \
	fi; \
	echo "Building .venv with $$($$found --version); this takes a minute or two ..."; \
	$$found -m venv --clear .venv && \
	$(BIN)/python -m pip install --quiet --no-compile --require-hashes --only-binary :all: -r requirements/dev.txt
	@touch $@

run: setup
	@exec $(BIN)/python manage.py dev

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal
	$(BIN)/python -m pytest -n 2 --dist worksteal --postgres

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	@.ci/check-django $(BIN)

fix: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python manage.py bench_roster $(BENCH)

# One lock for all supported Pythons and systems. It names no package index: pip asks the one that it is set up for.
LOCK = $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-emit-index-url \
	--custom-compile-command "make lock" pyproject.toml

lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) -o requirements/base.txt
	$(LOCK) --extra dev -o requirements/dev.txt
