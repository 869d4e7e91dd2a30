# The front door. `make` alone lists what there is.

.DEFAULT_GOAL := help
.PHONY: help install demo up test chaos plants simulate bench fmt lint

CARGO ?= cargo
RUN := $(CARGO) run --quiet --locked --package farmera --

help: ## List these targets
	@echo 'Farmera: an order system around a persistent, event-sourced saga orchestrator'
	@echo
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-14s %s\n", $$1, $$2 }'

install: ## Install what is missing of Postgres and nats-server, saying what it does
	@deploy/local/install.sh

demo: install ## Watch orders complete, compensate, fail and be cancelled; then check the books
	@$(CARGO) build --locked --package farmera
	@$(RUN) demo

up: install ## Run everything on this machine until Ctrl-C (UP="--fresh" wipes, "--replicas 2", "--free-ports")
	@$(CARGO) build --locked --package farmera
	@$(RUN) up $(UP)

test: install ## Run every test
	$(CARGO) test --workspace --locked --quiet

chaos: install ## Kill, wipe, cut and repeat under load, then judge from outside (CHAOS="--seed 1 --orders 100000", "--help")
	@$(CARGO) run --quiet --locked --package chaos -- $(CHAOS)

plants: install ## Plant each known bug in turn and see that a test notices
	@$(CARGO) run --quiet --locked --package chaos -- plants

simulate: ## Run the cores through a minute of everything that can go wrong (SIMULATE="--seeds 1000", "--seed 7", "plants")
	@$(CARGO) run --profile simulate --quiet --locked --package system-tests --bin simulate -- $(SIMULATE)

bench: install ## Measure: 20,000 orders at a concurrency of 256, then 500 one at a time (release build)
	@$(CARGO) build --release --locked --package farmera
	@$(CARGO) run --release --quiet --locked --package farmera -- bench --orders 20000 --concurrency 256
	@$(CARGO) run --release --quiet --locked --package farmera -- bench --orders 500 --concurrency 1

fmt: ## Format all code
	$(CARGO) fmt --all

lint: ## Check formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings
