# Two commands: `make up` sells, `make test` proves it. Both set up everything they need.
SHELL := /bin/sh
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python

# What `make test` runs in five processes too: each kind of way across, in less than a minute.
CROSSING := tests/topologies tests/orders/test_checkout.py tests/orders/test_admin.py tests/payments/test_rest.py \
	tests/notifications/test_writing.py tests/users/test_staff.py tests/inventory/test_events.py

# A set's order is part of what is made up: with this, FUZZ_SEED says it all.
test test-split test-fuzz: export PYTHONHASHSEED := 0

.PHONY: up split test test-split test-fuzz test-brokers mutants chaos sweep crowd bench clean lock

up: $(VENV)/up.stamp  ## a shop that sells, on http://127.0.0.1:8000 (PORT, DATA_DIR)
	@exec $(RUN) -m config.up

split: $(VENV)/up.stamp  ## the same shop in five processes behind an nginx, which has to be installed
	@exec $(RUN) -m config.split

test: $(VENV)/dev.stamp  ## the whole suite, with local and with loopback binding, and a part of it in five processes
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/lint-imports >.lint-imports.log 2>&1 || { cat .lint-imports.log; exit 1; }
	@echo "With both bindings side by side, each on a PostgreSQL of its own; what local says follows loopback ..."
	@TRANSPORT=local $(RUN) -m pytest $(ARGS) >.local.log 2>&1 & local=$$!; \
		TRANSPORT=loopback $(RUN) -m pytest $(ARGS); loopback=$$?; wait $$local; local=$$?; \
		cat .local.log; exit $$((local | loopback))
	@$(if $(ARGS),,echo "A part of it in five processes ..."; TRANSPORT=remote $(RUN) -m pytest $(CROSSING))

test-split: $(VENV)/dev.stamp  ## the whole suite in five processes with a database each
	@TRANSPORT=remote $(RUN) -m pytest $(ARGS)

bench: $(VENV)/up.stamp  ## how fast it is beside one flat Django view; ARGS=--quick, ARGS="--only orders"
	@$(RUN) -m bench $(ARGS)

chaos: $(VENV)/dev.stamp  ## buy from a shop that keeps breaking, and audit it (ORDERS, SEED, MODE=split, ENGINE=celery)
	@$(RUN) -m config.soak --orders $(or $(ORDERS),10000) $(if $(SEED),--seed $(SEED)) $(if $(MODE),--mode $(MODE)) \
		$(if $(findstring command,$(origin ENGINE)),--engine $(ENGINE))

sweep: $(VENV)/dev.stamp  ## five processes, of which one is killed, at every point where one can be
	@TRANSPORT=loopback SPLIT_EVERY=1 $(RUN) -m pytest tests/chaos/test_split_sweep.py

test-fuzz: $(VENV)/dev.stamp  ## generated requests against the API (FUZZ_CASES, FUZZ_SEED)
	@FUZZ_CASES=$${FUZZ_CASES:-5000} $(RUN) -m pytest -s tests/fuzz/test_api.py

test-brokers: $(VENV)/dev.stamp  ## the Celery engine on Valkey and on RabbitMQ, which has to be installed
	@BROKERS=valkey,rabbitmq $(RUN) -m pytest tests/celery $(ARGS)

mutants: $(VENV)/dev.stamp  ## planted bugs, each caught by the test that it names (ARGS: names, --jobs=2)
	@$(RUN) -m tests.mutants $(ARGS)

crowd: $(VENV)/dev.stamp  ## the last 1, 10 and 100 units, and a thousand buyers at the same moment
	@$(RUN) -m bench.crowd

$(VENV)/%.stamp: requirements/%.txt | $(VENV)/bin/python
	@echo "Installing $< ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Satsuma needs Python 3.11 or later on the PATH."; exit 1; }
	@echo "Creating $(VENV) with $(PYTHON) ..."
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)

lock:  ## resolve pyproject.toml into the hashed requirements (needs uv)
	@for set in "run" "up --group embedded" "dev --group embedded --group test"; do set -- $$set; file=$$1; shift; \
		uv pip compile pyproject.toml "$$@" --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --quiet --upgrade -o requirements/$$file.txt || exit 1; done

clean:  ## forget the environment and the data
	rm -rf $(VENV) .data
