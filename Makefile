# Undertone. `make` lists the targets. Needs Rust, Python 3 with pip, and make; every target fetches what else it needs.

CARGO ?= cargo
PYTHON ?= python3
# CREMA-D as downloaded, for `make train`.
DATA ?= AudioWAV
# Where `make train` writes the model.
OUT ?= models/telephone
# What `make train` trains.
RECIPE ?= telephone
# More arguments of the command behind `run` and `train`.
ARGS ?=

BINARY := $(or $(CARGO_TARGET_DIR),target)/debug/undertone
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release/undertone

export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup demo run test lint bench bench-vs-python limits train docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Fetch ONNX Runtime into .ort/ (once)
	@scripts/setup-onnxruntime.sh

# Release speed without link-time optimisation, and without the trainer: a cold build takes minutes, not a quarter of an hour.
demo: setup ## Play a recorded call to a server of its own and print what it hears
	$(CARGO) run --quiet --profile quick -- demo $(ARGS)

run: setup ## Serve with deploy/undertone.toml (ARGS="--listen …" for more)
	$(CARGO) run --profile quick -- serve --config deploy/undertone.toml $(ARGS)

test: setup ## Run all tests: Rust with the trainer, then a Python client against a running server
	$(CARGO) test --features train
	$(CARGO) build --features train
	scripts/test-python-client.sh $(BINARY)

lint: ## Check formatting, lints, the proto, licences and sources of dependencies
	scripts/lint.sh

bench: ## Time what a second of call costs, stage by stage
	$(CARGO) bench --profile quick --bench stages $(ARGS)

bench-vs-python: setup ## Find how many calls one core carries, beside a server in Python; fails below 3 times as many
	$(CARGO) build --release
	scripts/bench-vs-python.sh $(RELEASE)

limits: setup ## Measure what docs/performance.md tells; on a machine with nothing else to do
	$(CARGO) build --release
	scripts/measure-limits.sh $(RELEASE)

train: setup ## Train the telephone model: make train DATA=path/to/AudioWAV OUT=models/telephone
	$(CARGO) run --profile quick --features train -- train --recipe $(RECIPE) --data $(DATA) --out $(OUT) $(ARGS)

docs: ## Build the reference of the library
	$(CARGO) doc --no-deps --features train

clean: ## Remove everything that was built or fetched
	$(CARGO) clean
	rm -rf .ort .ort.partial.* .python .python.partial.* .python-bench .python-bench.partial.*
