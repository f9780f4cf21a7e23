# Every recipe is a command that a person could type. `make help` lists them.

STACK ?= dev
# auto: the Pulumi CLI where it is on the PATH, else the embedded engine
ENGINE ?= auto
ROLE ?= app

BIN := .venv/bin
ENGINE_auto := $(or $(shell command -v pulumi),$(BIN)/pulumi-embedded)
ENGINE_pulumi := pulumi
ENGINE_embedded := $(BIN)/pulumi-embedded
PULUMI := $(or $(ENGINE_$(ENGINE)),$(error ENGINE is '$(ENGINE)': it is auto, pulumi or embedded))

# The development stack's passphrase is empty, and has to be set all the same. Any other stack's is yours to set.
ifeq ($(STACK)$(PULUMI_CONFIG_PASSPHRASE_FILE),dev)
export PULUMI_CONFIG_PASSPHRASE ?=
endif

# The development server is for stacks whose configuration says nothing of another one.
SERVER := $(if $(PGHOST)$(shell grep -s '^ *postgresql:' Pulumi.$(STACK).yaml),,server)

BENCHMARKS := $(filter-out __init__ beside measure scripts server stacks tenants,$(basename $(notdir $(wildcard benchmarks/*.py))))

.PHONY: help up preview refresh rotate down pr-up pr-down psql ci-preview ci-comment ci-pin ci-up ci-drift test test-faults benchmarks \
	server stack clean requirements

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:[^#]*## /\t/' | expand -t 14

up: stack ## Bring the stack up: database, roles, grants, schema at its revision
	$(PULUMI) up --stack $(STACK) --yes
	@printf '\nNext: make psql · make preview · make down · alembic revision -m "…" (after: . $(BIN)/activate)\n'

preview: stack ## Show what `make up` would do
	$(PULUMI) preview --stack $(STACK) --diff

refresh: stack ## Read the server again into the stack's state
	$(PULUMI) refresh --stack $(STACK) --yes

rotate: stack ## Give the application its other login, with a new password; the next `make up` retires the old one
	login=$$($(PULUMI) stack output app_login --stack $(STACK)) && \
		$(PULUMI) config set taskdb:app_login $$(echo $$login | tr ab ba) --stack $(STACK)
	$(PULUMI) up --stack $(STACK) --yes

down: stack ## Drop the database and its roles
	$(PULUMI) destroy --stack $(STACK) --yes

psql: $(BIN)/.up ## Open psql on the stack's database: ROLE=app, reader or migrator
	$(BIN)/taskdb psql --stack $(STACK) --role $(ROLE)

pr-up: $(BIN)/.up ## Bring up a pull request's own stack, made from staging's schema: PR=123
	$(BIN)/taskdb pull-request up --engine $(ENGINE) $(PR)

pr-down: $(BIN)/.up ## Remove a pull request's stack: PR=123
	$(BIN)/taskdb pull-request down --engine $(ENGINE) $(PR)

test: $(BIN)/.test ## Run every check and test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto

test-faults: $(BIN)/.test ## Try every fault, walk and rotation for long, of which `make test` does a little: some hours
	FAULTS=all $(BIN)/pytest -n auto --timeout 3600 tests/faults tests/postgres/alembic/test_walk.py tests/postgres/drift/test_keeping.py \
		tests/acceptance/test_rotation.py

benchmarks: $(BIN)/.up $(SERVER) ## Measure the timing claims, and compare with a Pulumi CLI on the PATH
	@status=0; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || status=1; done; exit $$status

server: $(BIN)/.up
	$(BIN)/taskdb server start

stack: $(BIN)/.up $(SERVER) Pulumi.$(STACK).yaml
	$(PULUMI) stack select $(STACK) --create

Pulumi.%.yaml:
	@echo "There is no $@, so no stack '$*' is configured. Make it: $(PULUMI) stack init $*" >&2; exit 1

$(BIN)/.up: requirements.txt pyproject.toml
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; python3 is " + sys.version)'
	python3 -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/.test: requirements-dev.txt $(BIN)/.up
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.txt
	@touch $@

ci-preview: $(BIN)/.up $(SERVER) ## What the pull request's check runs: the preview of STACK as a report
	.ci/preview $(STACK) $(PULUMI)

ci-comment: ## Put that report under the pull request: PULL_REQUEST=12 GITHUB_REPOSITORY=owner/name
	.ci/comment "$(GITHUB_REPOSITORY)" "$(PULL_REQUEST)"

ci-pin: $(BIN)/.up ## Pin STACK to a revision, as the rollback does: REVISION=20250126_002
	$(PULUMI) config set --stack $(STACK) -- taskdb:revision "$(REVISION)"

ci-up: $(BIN)/.up $(SERVER) ## Bring STACK up as the deployment does, with the digest of PULUMI_ALEMBIC_APPROVE
	$(PULUMI) up --stack $(STACK) --yes --skip-preview

ci-drift: $(BIN)/.up $(SERVER) ## What runs each night: fails where STACK is not what the last update left
	$(PULUMI) preview --stack $(STACK) --refresh --expect-no-changes --diff

clean: ## Remove the virtual environment and caches; databases and stacks stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests migrations -name __pycache__ -type d -prune -exec rm -rf {} +

requirements: ## Pin the newest versions that pyproject.toml allows
	uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--extra build --output-file requirements.txt
	uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--extra build --extra dev --constraint requirements.txt --output-file requirements-dev.txt
