# What people do here. Each target sets up what is missing first; see scripts/bootstrap.

SWIFT ?= swift
SCRIPTS := scripts/bootstrap scripts/docs scripts/kafka
BASH_SCRIPTS := .ci/run Sources/TandemLocal/Broker/rabbitmq.sh
SWIFT_PLACES := $(wildcard Sources Tests Examples Package.swift)

.DEFAULT_GOAL := help
.PHONY: help bare bootstrap bootstrap-tests chaos demo docs soak test test-18 test-kafka lint format bench release clean

help: ## shows this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

bootstrap: ## installs the missing Debian packages, or says how
	@scripts/bootstrap

bootstrap-tests:
	@scripts/bootstrap --tests

demo: release ## moves money between three databases, kills some of it, and counts
	$(SWIFT) build -c release --product tandem-demo
	.build/release/tandem-demo --tandem .build/release/tandem

# All tests at once ask much of a small machine: some wait for others' servers until their own time is over.
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH ?= 12

test: bootstrap-tests ## builds and runs every test
	$(SWIFT) build --build-tests
	$(SWIFT) test --disable-xctest --skip-build

# What `make test` runs a sixtieth of.
soak: bootstrap-tests ## runs the long cases as they are written: 10,000 sagas with a hundred kills, 200 of relays
	$(SWIFT) build --build-tests
	TANDEM_SOAK=1 $(SWIFT) test --disable-xctest --skip-build --filter 'SagaStormTests|OutboxCrashTests|OutboxStormTests|EndToEndTests|RingTests|BystanderTests|RelayTests/(late|outage)'

# The driver, the protocol and recovery; TANDEM_TEST_PG_BIN does the same for whatever else lies on the machine.
test-18: bootstrap-tests ## runs the tests of driver, protocol and recovery on PostgreSQL 18
	$(SWIFT) build --build-tests
	TANDEM_TEST_PG_BIN="$$(scripts/bootstrap --postgres-18)" $(SWIFT) test --disable-xctest --skip-build \
		--filter 'TandemPostgresTests|TandemClusterTests|TandemTransactionsTests|TandemCrashTests'

# The mock within librdkafka serves `make test`; this is a broker of its own, which wants a newer librdkafka than Debian's.
test-kafka: bootstrap-tests ## runs the tests of Kafka against a broker in a process of its own
	$(SWIFT) build --build-tests
	scripts/kafka $(SWIFT) test --disable-xctest --skip-build --filter 'TandemKafkaTests|SinkConformanceTests'

# In a folder of its own, so that nothing of the other build is in the way.
bare: bootstrap ## builds the command without Kafka and RabbitMQ, and asks it for its version
	$(SWIFT) build --product tandem --disable-default-traits --scratch-path .build/bare
	.build/bare/debug/tandem --version

# Another seed each time, which it prints; 84 s of load, and what comes before and after.
chaos: bootstrap ## breaks nodes, coordinators and connections at random, and checks what came of it
	$(SWIFT) build --product tandem
	.build/debug/tandem chaos run --seconds 28 --workload bank
	.build/debug/tandem chaos run --seconds 28 --workload list-append
	.build/debug/tandem chaos run --seconds 28 --workload saga

docs: bootstrap ## builds the library's documentation and guides into .build/docs; a warning is an error
	SWIFT="$(SWIFT)" scripts/docs

lint: ## checks format, documentation and scripts
	$(SWIFT) format lint --strict --parallel --recursive $(SWIFT_PLACES)
	@for script in $(SCRIPTS); do echo "sh -n $$script"; sh -n "$$script" || exit 1; done
	@for script in $(BASH_SCRIPTS); do echo "bash -n $$script"; bash -n "$$script" || exit 1; done
	@if command -v shellcheck >/dev/null; then echo "shellcheck $(SCRIPTS) $(BASH_SCRIPTS)"; shellcheck $(SCRIPTS) $(BASH_SCRIPTS); \
	else echo "shellcheck is not installed: skipped"; fi

format: ## formats the Swift files in place
	$(SWIFT) format --in-place --parallel --recursive $(SWIFT_PLACES)

release: bootstrap ## builds the command in .build/release/tandem
	$(SWIFT) build -c release --product tandem

bench: release ## measures commits and recovery on nodes of its own
	.build/release/tandem bench commit
	.build/release/tandem bench recovery --transactions 1000

clean: ## removes what was built; local nodes stay (tandem dev reset)
	$(SWIFT) package clean
