# `make up` starts a shop, `make test` tests it, `make help` lists the rest. Each target installs what it needs.
SHELL := /bin/sh
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
AUDIT := $(VENV)/audit

# What `make lint` checks the types of.
PACKAGES := shop contexts config ops

# What `make test` also runs in five processes: one test of each kind of crossing.
CROSSING := tests/topologies tests/orders/test_checkout.py tests/orders/test_admin.py tests/payments/test_rest.py \
	tests/notifications/test_message_creation.py tests/users/test_staff.py tests/inventory/test_events.py

# What `make test-system` runs instead of `make test`: whole shops that are killed, cut off, moved, upgraded or overloaded.
SYSTEM := tests/chaos tests/soak
SYSTEM_LOCAL := $(SYSTEM) tests/ops/test_startcontext.py tests/ops/deploy/test_running_gateway.py \
	$(addprefix tests/ops/launch/test_,postgres.py recovery.py split.py up.py) \
	$(addprefix tests/journeys/test_,outages.py password_hashing.py secret_rotation.py serving.py shop_process.py slow_clients.py)
SYSTEM_LOOPBACK := $(SYSTEM) tests/bench tests/ops/peel tests/releases tests/shop/messaging/celery \
	$(addprefix tests/journeys/test_,shop_process.py split.py)

# What `make test` runs with one of the two bindings only, unless it is called with BINDINGS=both or ALL=1.
ONLY_LOCAL := $(addprefix tests/,fuzz journeys ops users)
ONLY_LOOPBACK := $(addprefix tests/,inventory notifications orders payments)
ifneq ($(ALL)$(ARGS),)
BINDINGS := both
else
LEFT_OUT_LOCAL := $(SYSTEM_LOCAL)
LEFT_OUT_LOOPBACK := $(SYSTEM_LOOPBACK)
endif
ifneq ($(BINDINGS),both)
LEFT_OUT_LOCAL += $(ONLY_LOOPBACK)
LEFT_OUT_LOOPBACK += $(ONLY_LOCAL)
endif

# Runs pytest with each binding at the same time: with options for loopback, for local, and for remote if there are any.
define side_by_side
echo "The parts run side by side, each on its own PostgreSQL; the output of loopback comes first ..."; \
	failed=0; $(if $(3),TRANSPORT=remote $(RUN) -m pytest $(3) >.remote.log 2>&1 & remote=$$!;) \
	TRANSPORT=local $(RUN) -m pytest $(2) >.local.log 2>&1 & local=$$!; \
	TRANSPORT=loopback $(RUN) -m pytest $(1) & loopback=$$!; \
	trap 'kill $$loopback $$local $$remote; exit 130' INT TERM; \
	for part in $$loopback $$local $$remote; do wait $$part || failed=1; done; \
	cat .local.log $(if $(3),.remote.log); exit $$failed
endef

# The generated requests depend on the order of sets: with a fixed hash seed, FUZZ_SEED alone reproduces them.
test test-system test-local test-loopback test-split test-fuzz: export PYTHONHASHSEED := 0

# The tests start hundreds of processes: where Python is told to store no bytecode, each would compile all modules anew.
test test-system test-local test-loopback test-split: export PYTHONDONTWRITEBYTECODE :=

# The static checks run side by side.
MAKEFLAGS += --jobs=4

.DEFAULT_GOAL := help

.PHONY: help up split test test-system test-local test-loopback test-split lint style boundaries vocabulary types format \
	test-retention test-fuzz test-brokers test-clients test-moves test-install mutants chaos sweep crowd bench audit sbom clean lock

help:  ## list the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

##@ Run the shop

up: $(VENV)/up.stamp  ## start a shop on http://127.0.0.1:8000 (PORT, DATA_DIR)
	@exec $(RUN) -m ops.launch.up

split: $(VENV)/up.stamp  ## start the same shop in five processes behind nginx, which must be installed
	@exec $(RUN) -m ops.launch.split

##@ Test a change

test: $(if $(C),$(VENV)/dev.stamp,lint)  ## run the checks and the tests (C=orders: one folder of tests/; BINDINGS=both; ALL=1: also test-system; ARGS: pytest options)
ifneq ($(C),)
	@test -e tests/$(C) || { echo "tests/$(C) does not exist. C is a folder of tests/, for example C=orders."; exit 2; }
	@TRANSPORT=$(or $(TRANSPORT),local) $(RUN) -m pytest tests/$(C) $(ARGS)
else
	@$(call side_by_side,$(ARGS) $(LEFT_OUT_LOOPBACK:%=--ignore=%),$(ARGS) $(LEFT_OUT_LOCAL:%=--ignore=%),$(if $(ARGS),,$(CROSSING)))
endif

test-system: $(VENV)/dev.stamp  ## run the tests that kill, cut off, move, upgrade or overload whole shops (ARGS; needs nginx)
	@$(call side_by_side,$(SYSTEM_LOOPBACK) $(ARGS),$(SYSTEM_LOCAL) $(ARGS))

lint: style boundaries vocabulary types  ## run every static check: style, boundaries, vocabulary, types

style: $(VENV)/dev.stamp  ## check style, security rules and format with ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

boundaries: $(VENV)/dev.stamp  ## check the imports between contexts with import-linter
	$(VENV)/bin/lint-imports

vocabulary: $(VENV)/dev.stamp  ## check names and docstrings for unclear words
	$(RUN) -m tests.architecture.vocabulary

types: $(VENV)/dev.stamp  ## check types with mypy
	$(VENV)/bin/mypy $(PACKAGES)

format: $(VENV)/dev.stamp  ## format the code and apply the safe fixes of ruff
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

##@ Test by topology

test-local: $(VENV)/dev.stamp  ## run the suite in one process, calls between contexts are plain calls (ARGS)
	@TRANSPORT=local $(RUN) -m pytest $(ARGS)

test-loopback: $(VENV)/dev.stamp  ## run the suite in one process, calls go through the wire format (ARGS)
	@TRANSPORT=loopback $(RUN) -m pytest $(ARGS)

test-split: $(VENV)/dev.stamp  ## run the suite in five processes with a database each (ARGS)
	@TRANSPORT=remote $(RUN) -m pytest $(ARGS)

##@ Test in depth

test-fuzz: $(VENV)/dev.stamp  ## send generated requests to the API and the admin (FUZZ_CASES, FUZZ_SEED)
	@FUZZ_CASES=$${FUZZ_CASES:-5000} $(RUN) -m pytest -s tests/fuzz/test_api.py tests/fuzz/test_admin.py

test-retention: $(VENV)/dev.stamp  ## delete a million old rows of each kind, in short transactions (RETENTION_ROWS)
	@RETENTION_ROWS=$${RETENTION_ROWS:-1000000} $(RUN) -m pytest tests/shop/test_purging_many_rows.py --durations=0 $(ARGS)

test-brokers: $(VENV)/dev.stamp  ## test the Celery engine on Valkey and on RabbitMQ, which must be installed (ARGS)
	@BROKERS=valkey,rabbitmq $(RUN) -m pytest tests/shop/messaging/celery $(ARGS)

test-install: $(VENV)/dev.stamp  ## start every way to run from the locked packages alone (needs nginx)
	@$(RUN) -m tests.installation

test-clients: $(VENV)/dev.stamp  ## lint the OpenAPI document, and order with generated clients (needs node and npm)
	@TRANSPORT=local $(RUN) -m pytest tests/clients/test_generated_clients.py $(ARGS)

mutants: $(VENV)/dev.stamp  ## plant known bugs and check that a test catches each (ARGS: names, --jobs=2)
	@$(RUN) -m tests.mutants $(ARGS)

chaos: $(VENV)/dev.stamp  ## buy from a shop under injected faults, then audit it (ORDERS, SEED, MODE=split, ENGINE=celery)
	@$(RUN) -m tests.soak --orders $(or $(ORDERS),10000) $(if $(SEED),--seed $(SEED)) $(if $(MODE),--mode $(MODE)) \
		$(if $(findstring command,$(origin ENGINE)),--engine $(ENGINE))

sweep: $(VENV)/dev.stamp  ## kill a process, and the database server, at every fault point, in one process and in five
	@TRANSPORT=local SWEEP_EVERY=1 $(RUN) -m pytest tests/chaos/test_sweep.py tests/chaos/test_server_crash.py
	@TRANSPORT=loopback SWEEP_EVERY=1 $(RUN) -m pytest tests/chaos/test_sweep.py tests/chaos/test_split_sweep.py

test-moves: $(VENV)/dev.stamp  ## move databases between servers, interrupted at every point (ARGS)
	@TRANSPORT=local $(RUN) -m pytest tests/ops/peel/test_interrupted_moves.py tests/ops/peel/test_tutorial.py $(ARGS)

##@ Measure

bench: $(VENV)/up.stamp  ## compare the speed with one flat Django view (ARGS=--quick, ARGS="--only orders")
	@$(RUN) -m bench $(ARGS)

crowd: $(VENV)/dev.stamp  ## let a thousand buyers compete for the last 1, 10 and 100 units
	@$(RUN) -m bench.crowd

$(VENV)/%.stamp: requirements/%.txt | $(VENV)/bin/python
	@echo "Installing $< ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Satsuma needs Python 3.11 or later on the PATH."; exit 1; }
	@echo "Creating $(VENV) with $(PYTHON) ..."
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)

##@ Maintain

audit: $(AUDIT)/audit.stamp  ## look for known vulnerabilities of the locked packages (asks pypi.org)
	@for file in requirements/*.txt; do echo "$$file:"; \
		$(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip -r $$file || exit 1; done

sbom: $(AUDIT)/audit.stamp  ## write the bill of materials of what runs in production to sbom.cdx.json (CycloneDX)
	$(AUDIT)/bin/cyclonedx-py requirements requirements/run.txt --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-format JSON --output-file sbom.cdx.json

$(AUDIT)/audit.stamp: requirements/audit.txt | $(VENV)/bin/python
	@echo "Installing $< ..."
	@$(RUN) -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

lock:  ## resolve pyproject.toml into requirements/ with hashes (needs uv)
	@for set in "run pyproject.toml" "up pyproject.toml --group embedded" \
		"dev pyproject.toml --group embedded --group test" "audit --group audit"; do set -- $$set; file=$$1; shift; \
		uv pip compile "$$@" --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --quiet --upgrade -o requirements/$$file.txt || exit 1; done

clean:  ## delete the virtual environment, the data of `make up` and the tools of `make test-clients`
	rm -rf $(VENV) .data .clients
