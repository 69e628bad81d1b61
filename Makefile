# WeGit without Docker. `make` alone names the targets; what takes more than a line is in local/.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(name) -c 'import sys, venv, ensurepip; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null)))
FOUND_PYTHON = $(or $(PYTHON),$(error WeGit needs Python 3.11 or newer with its module venv. Debian and Ubuntu: apt install python3 python3-venv))
BIN := .venv/bin
STAMP := .venv/.stamp

.DEFAULT_GOAL := help
.PHONY: help run demo test chaos check bench overload .env clean

help: ## name the targets
	@sed -n 's/^\([a-z.]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: $(STAMP) ## run everything here: Postgres, migrations, the five services; Ctrl-C stops it
	@exec $(BIN)/python -m local run

demo: $(STAMP) ## the same against an imitation of GitHub: no network, data of its own
	@exec $(BIN)/python -m local demo

test: $(STAMP) ## the whole test suite; ARGS="-k name" for a part of it
	@$(BIN)/python -m pytest $(ARGS)

chaos: $(STAMP) ## the notifier's fault tests for longer; ARGS="--chaos-rounds 5 --chaos-seconds 60"
	@$(BIN)/python -m pytest tests/fault/test_notifier_faults.py tests/service/test_queue_states.py --chaos-rounds 3 --chaos-seconds 30 $(ARGS)

check: $(STAMP) ## lint, format, types, import contracts
	@$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy && $(BIN)/lint-imports

bench: $(STAMP) ## measure, print tables
	@$(BIN)/python -m benchmarks $(ARGS)

overload: $(STAMP) ## five times too much for the gateway, for a minute
	@OVERLOAD_SECONDS=60 $(BIN)/python -m pytest tests/fault/test_gateway_overload.py

.env: ## make the settings file, with fresh secrets where it has none
	@$(FOUND_PYTHON) -m local.settings_file

clean: ## remove the environment and the tools' caches; the settings file and the data stay
	@rm -rf .venv .venv-flask .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis .import_linter_cache && find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): requirements-dev.txt constraints.txt $(wildcard */pyproject.toml)
	@$(FOUND_PYTHON) -m local.environment
