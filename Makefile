# Ordeal. `make help` lists the targets.
SHELL := /bin/bash
GO    ?= go
OUT   ?= ordeal-report
N     ?= 20
CPUS  := $(shell getconf _NPROCESSORS_ONLN)

# Pinned: the same linter everywhere.
LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# Static: services may run from it in containers of an empty base.
.PHONY: build
build: bin/ordeal ## Build bin/ordeal

bin/ordeal: FORCE
	@CGO_ENABLED=0 $(GO) build -o $@ ./cmd/ordeal

.PHONY: FORCE
FORCE:

.PHONY: ordeal
ordeal: bin/ordeal ## Run the scenario catalogue and write the report
	bin/ordeal run --out $(OUT)

.PHONY: test
test: ## Run every test, a package at a time: scenarios want the machine for themselves
	$(GO) test -p 1 -timeout 20m $(TESTFLAGS) ./...

.PHONY: test-containers
test-containers: export CGO_ENABLED = 0
test-containers: export ORDEAL_REQUIRE_CONTAINERS = 1
test-containers: bin/ordeal ## Run the tests that need a container engine, with whatever images are there: none is skipped
	$(GO) test -p 1 -timeout 30m $(TESTFLAGS) ./harness/stack ./harness/conformance
	$(GO) test -timeout 20m $(TESTFLAGS) -run 'Containers|Engine' ./cmd/ordeal
	ORDEAL_BACKEND=containers $(GO) test -timeout 20m -parallel $(CPUS) $(TESTFLAGS) -run TestGuards .

# The names of the scenarios that need three brokers.
three = $$(bin/ordeal list | awk '/^SCENARIOS THAT NEED/ { on = 1; next } /^$$/ { on = 0 } on { print $$1 }')

.PHONY: cluster
cluster: bin/ordeal ## Run what three brokers of real Kafka can show, and lose a record to acks=1
	bin/ordeal run $(three) --backend containers --brokers 3 --out $(OUT)
	ORDEAL_BACKEND=containers ORDEAL_BROKERS=3 $(GO) test -count=1 -timeout 10m -run TestGuards/acks-all .

.PHONY: race
race: ## Run every test under the race detector
	$(GO) test -race -timeout 30m ./...

.PHONY: lint
lint: ## Check formatting, vet for Linux and macOS, and lint
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these files'; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) run $(LINT) run

.PHONY: bench
bench: bin/ordeal ## Print the figures: start, environment, throughput, links, taps, checking, catalogue
	@echo '# first confirmed order, orders a second through links and directly'
	$(GO) test -run '^$$' -bench . -benchtime 1x .
	@echo '# a fresh environment from the pool'
	$(GO) test -run '^$$' -bench 'New$$' -benchtime 10x ./harness/stack
	@echo '# a link with its tap, plain Toxiproxy, and no proxy'
	$(GO) test -run '^$$' -bench . ./harness/link
	@echo '# write-ahead log tap'
	$(GO) test -run '^$$' -bench WALTap -benchtime 20000x ./harness/observe
	@echo '# judging'
	$(GO) test -run '^$$' -bench Judge -benchtime 1x ./harness/check
	@echo '# the whole catalogue'
	time bin/ordeal run --out $(OUT)

.PHONY: bench-containers
bench-containers: export ORDEAL_REQUIRE_CONTAINERS = 1
bench-containers: bin/ordeal ## Print the figures of the containers backend: ready, torn down, a fresh environment, catalogue
	$(GO) test -run '^$$' -bench Containers -benchtime 3x ./harness/stack
	time bin/ordeal run --backend containers --out $(OUT)

# SEED repeats a run; without it each has another.
seed = $(if $(SEED),--seed $(SEED))

.PHONY: mutants
mutants: bin/ordeal ## Plant each bug once (BUGS="B7 B11" some): what was found by name before must be again
	bin/ordeal mutants $(BUGS) $(seed) --out mutants-report

.PHONY: mutants-rate
mutants-rate: bin/ordeal ## Plant each bug N (20) times, and write the table of rates and times: docs/mutants.md
	@bin/ordeal mutants $(BUGS) $(seed) --repeat $(N) --out mutants-report; code=$$?; \
	  if [ $$code -le 2 ] && [ -z "$(BUGS)" ]; then cp mutants-report/mutants.md docs/mutants.md; fi; exit $$code

.PHONY: parity
parity: bin/ordeal ## Run the catalogue and every removed guard on both backends: none may differ without a reason
	@scripts/parity

.PHONY: twenty
twenty: bin/ordeal ## Run the catalogue, or SCENARIO="…", N (20) times: every run must pass
	@scripts/twenty $(N) $(SCENARIO)

.PHONY: matrix
matrix: bin/ordeal ## Run every design against the scenarios that tell them apart, and measure what each costs
	bin/ordeal matrix $(MATRIXFLAGS)

.PHONY: price
price: bin/ordeal ## Measure what each design costs, and nothing else
	bin/ordeal matrix --repeat 0 --out ordeal-price $(MATRIXFLAGS)

.PHONY: images
images: ## Build the container images where no registry serves them (as root; cached)
	@images/build

.PHONY: clean
clean: ## Remove what the other targets made
	rm -rf bin $(OUT) mutants-report twenty-report parity-report ordeal-matrix ordeal-price
