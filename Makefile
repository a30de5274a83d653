# The README's two commands are `make demo` and `make test`: each first installs whatever is missing.
.DEFAULT_GOAL := help
.PHONY: help setup demo up down compose-up compose-down test evidence state-trials journal-trial book-trial watch-trials check lint format proto lock
bin := .venv/bin
out := proto

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 19

setup: ## Install the missing Debian packages and .venv/; nothing if that is done
	@requirements/setup.sh

demo: setup ## The whole system on this machine: withdrawals, a freeze and four refusals, for real
	@$(bin)/python -m custody.dev.demo

up: setup ## Start the whole system for development and leave it running
	@$(bin)/python -m custody.dev.up

down: setup ## Stop what `make up` started
	@$(bin)/python -m custody.dev.down

compose-up: ## The same system in containers; needs a Docker engine, docker-compose, debootstrap, root
	@docker image inspect kura-build >/dev/null 2>&1 || .ci/base-image.sh
	docker-compose build --quiet
	docker-compose up -d
	@code=$$(docker wait "$$(docker-compose ps -q first-book)"); docker-compose logs first-book; exit $$code

compose-down: ## Stop the containers; the volumes keep their data
	docker-compose down

test: lint ## All static checks, then all tests
	$(bin)/python -m pytest -n 2 --dist worksteal

evidence: state-trials journal-trial book-trial watch-trials ## All long trials

journal-trial: setup ## The signer's journal with 10 million withdrawals (COUNT=), about 4 minutes; build/journal.json
	$(bin)/python -m bench.journal --count $${COUNT:-10000000} --limits

state-trials: setup ## 500 random lives of custody (TRIALS=, STEPS=) against a model; about 10 minutes
	TRIALS=$${TRIALS:-500} STEPS=$${STEPS:-40} $(bin)/python -m pytest -q -s tests/integration/test_state_machine.py

book-trial: setup ## An address book of 1,000,000 (ENTRIES=) in signer and custody; writes build/book.json
	$(bin)/python -m bench.book

watch-trials: setup ## A stolen hot key under load, 100 times (TRIALS=), and no false alarm in LAWFUL= withdrawals; build/watch.json
	$(bin)/python -m bench.watch

check: lint ## Only the static checks
	$(bin)/python -m pytest --quiet tests/unit/test_stubs.py

lint: setup
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/buf lint proto

format: setup ## Sort imports, mend what ruff can, format
	$(bin)/ruff check --fix-only .
	$(bin)/ruff format .

proto: setup ## Regenerate the stubs beside the .proto files (elsewhere with out=DIR)
	$(bin)/python -m grpc_tools.protoc -Iproto --python_out=$(out) --pyi_out=$(out) \
	  $$(find proto -name '*.proto')
	$(bin)/python -m grpc_tools.protoc -Iproto --grpc_python_out=$(out) \
	  $$(grep -rl '^service ' proto --include='*.proto')

lock: ## Lock the versions and hashes of all dependencies after an edit of pyproject.toml
	requirements/lock.sh
