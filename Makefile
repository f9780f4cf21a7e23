# Every recipe is a command that a person could type. `make help` lists them.

# No variable is ever text of a recipe: recipes read them from the environment, and the commands check their form. What
# holds a dollar sign would be expanded by make itself.
INPUTS := STACK PULUMI_STACK ENGINE ROLE PR REVISION PULL_REQUEST GITHUB_REPOSITORY PAGE
$(foreach name,$(INPUTS),$(if $(findstring $$,$(value $(name))),$(error $(name) must not hold a dollar sign)))

# The stack is STACK of the command line, as platforms set one in the environment. Otherwise it is PULUMI_STACK, then the
# stack that is selected, then dev: `taskdb stack` prints it. Nothing selects it.
ifeq ($(origin STACK),command line)
export PULUMI_STACK := $(STACK)
endif
# auto: the Pulumi CLI if it is on the PATH, otherwise the embedded engine
ENGINE ?= auto
ROLE ?= app
PAGE ?= docs
export ROLE PR REVISION PULL_REQUEST PAGE

BIN := .venv/bin
WRONG := ENGINE must be auto, pulumi or embedded
$(if $(filter auto pulumi embedded,$(ENGINE)),$(if $(word 2,$(ENGINE)),$(error $(WRONG))),$(error $(WRONG)))
# Without compiled files each process compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=
# pip's notice of its own newer release is no part of what make says.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A command of Pulumi on the stack, with the development server if the stack's configuration names no other one
RUN := $(BIN)/taskdb run --engine $(ENGINE)

BENCHMARKS := $(filter-out __init__ beside measure scripts server stacks tenants,$(basename $(notdir $(wildcard benchmarks/*.py))))

# The two libraries come from this repository.
PINS := UV_CUSTOM_COMPILE_COMMAND="make requirements" uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-package pulumi-alembic --no-emit-package pulumi-embedded

.PHONY: help up preview refresh rotate down pr-up pr-down psql ci-preview ci-comment ci-schema ci-fetch ci-report ci-pin \
	ci-up ci-drift test test-all static pytest coverage docs docs-reference docs-print benchmarks dist server clean requirements

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:[^#]*## /\t/' | expand -t 14

up: $(BIN)/.up ## Bring the stack up: database, roles, grants, schema at its revision
	@$(RUN) --create up --yes
	@printf 'Next: make psql · make preview · make down · alembic revision -m "…" (after: . $(BIN)/activate)\n'

preview: $(BIN)/.up ## Show what `make up` would do
	$(RUN) --create preview

refresh: $(BIN)/.up ## Read the server again into the stack's state
	$(RUN) refresh --yes

rotate: $(BIN)/.up ## Give the application its other login, with a new password; the next `make up` retires the old one
	login=$$($(RUN) stack output app_login) && $(RUN) config set taskdb:app_login "$$(echo "$$login" | tr ab ba)"
	$(RUN) up --yes

down: $(BIN)/.up ## Drop the database and its roles
	$(RUN) destroy --yes

psql: $(BIN)/.up ## Open psql on the stack's database: ROLE=app, reader or migrator
	$(BIN)/taskdb psql --role "$$ROLE"

pr-up: $(BIN)/.up ## Bring up a pull request's own stack, made from staging's schema: PR=123
	$(BIN)/taskdb pull-request up --engine $(ENGINE) -- "$$PR"

pr-down: $(BIN)/.up ## Remove a pull request's stack: PR=123
	$(BIN)/taskdb pull-request down --engine $(ENGINE) -- "$$PR"

test: $(BIN)/.test ## Run every check, and the tests at their smallest draw
	@$(MAKE) --no-print-directory --keep-going --jobs=2 static pytest

test-all: $(BIN)/.test ## Run every check and test with all draws, kills and walks: some hours
	@TESTS=all $(MAKE) --no-print-directory --keep-going --jobs=2 static pytest

# Beside the tests: they share no file.
static: $(BIN)/.test
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/lint-imports && $(BIN)/mypy

pytest: $(BIN)/.test
	@$(BIN)/pytest -n auto $(if $(filter all,$(TESTS)),--dist=load --timeout=3600)

coverage: $(BIN)/.test ## Run the tests, and show which branches of src/ none of them takes
	rm -rf .local/coverage && mkdir -p .local/coverage
	$(BIN)/coverage run -m pytest -n auto; status=$$?; $(BIN)/coverage combine --quiet && $(BIN)/coverage report --fail-under=90 && exit $$status

docs: $(BIN)/.docs ## Build the site of docs/ into .local/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-reference: $(BIN)/.test ## Write the pages of docs/reference that the program makes
	$(BIN)/python -m tests.docs.reference

docs-print: $(BIN)/.test ## Write into pages of docs what their commands print now: PAGE=drift
	TESTS=all TASKDB_DOCS=print $(BIN)/pytest tests/docs/test_pages.py -k "commands_print and ($$PAGE)"

benchmarks: $(BIN)/.up $(if $(value PGHOST),,server) ## Measure the timing claims, and compare with what is on the PATH: a Pulumi CLI, dbmate, migrate
	@status=0; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || status=1; done; exit $$status

dist: $(BIN)/.release ## Build the three packages, check them, and try each in an environment of its own
	$(BIN)/python packages/dist.py

server: $(BIN)/.up
	$(BIN)/taskdb server start

# The project is installed first: once it contained the commands of the two libraries.
$(BIN)/.up: requirements.txt pyproject.toml VERSION $(wildcard packages/*/pyproject.toml)
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; python3 is " + sys.version)'
	@echo 'Installing Python packages into .venv, about a minute'
	@python3 -m venv .venv
	@$(BIN)/pip install --quiet --require-hashes --requirement requirements.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation $(addprefix --editable ,$(dir $(wildcard packages/*/pyproject.toml)))
	@touch $@

$(BIN)/.release: requirements-release.txt $(BIN)/.up
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-release.txt
	@touch $@

$(BIN)/.docs: requirements-docs.txt $(BIN)/.up
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-docs.txt
	@touch $@

$(BIN)/.test: requirements-dev.txt $(BIN)/.up
	@echo 'Installing Python packages for the tests into .venv, about a minute'
	@$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.txt
	@touch $@

ci-preview: $(BIN)/.up ## What the pull request's check runs: the preview of STACK as a report
	.ci/preview $(RUN)

ci-comment: ## Put that report under the pull request: PULL_REQUEST=12 GITHUB_REPOSITORY=owner/name
	.ci/comment "$$GITHUB_REPOSITORY" "$$PULL_REQUEST"

ci-schema: $(BIN)/.up ## Write the schema of STACK's database as .local/schema.json, without a row and without a password
	umask 077 && mkdir -p .local && $(BIN)/pulumi-alembic schema --output .local/schema.json

ci-fetch: ## Fetch the file that the newest deployment of main wrote so: GITHUB_REPOSITORY=owner/name
	.ci/fetch-schema "$$GITHUB_REPOSITORY"

ci-report: $(BIN)/.up ## Report on that file, without a secret, rehearsed on a server of this machine
	.ci/report-schema

ci-pin: $(BIN)/.up ## Pin STACK to a revision, as the rollback does: REVISION=20250126_002
	$(BIN)/taskdb pin --engine $(ENGINE) -- "$$REVISION"

ci-up: $(BIN)/.up ## Bring STACK up as the deployment does, with the digest of PULUMI_ALEMBIC_APPROVE
	$(RUN) up --yes --skip-preview

ci-drift: $(BIN)/.up ## What runs each night: fails if STACK is not what the last update left
	$(RUN) preview --refresh --expect-no-changes --diff

clean: ## Remove the virtual environment and caches; databases and stacks stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests migrations -name __pycache__ -type d -prune -exec rm -rf {} +

requirements: ## Pin the newest versions that pyproject.toml allows
	$(PINS) --extra build --output-file requirements.txt
	$(PINS) --extra build --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	$(PINS) --extra build --extra release --constraint requirements.txt --output-file requirements-release.txt
	$(PINS) --extra build --extra docs --constraint requirements.txt --output-file requirements-docs.txt
