# make run     build, and serve on 127.0.0.1:8776 with its state in ./data; log in by ./data/clouds.yaml
# make test    every test: the library, the binary over HTTP, PostgreSQL, a QEMU guest, the stock clients
# make bench   micro-benches, then the whole server against baselines: one table, and docs/performance.md (15 minutes)
# make crash   the kill -9 tests alone: 200 kills in a storm (HEARTH_CRASH_KILLS), 20 rounds with a guest (HEARTH_CRASH_ROUNDS)
# make tempest OpenStack's own tests of volumes, with Hearth's identity service and with Keystone (7 minutes; docs/tempest.md)
#
# Each prepares what it needs first (scripts/setup.sh); that does nothing when it is there already.

CARGO ?= cargo
CONFIG ?= config/hearth.toml
AUTH ?= local

MICRO_BENCHES = decide commit mailbox policy requests

.PHONY: run test bench crash tempest setup-run setup-test setup-bench setup-tempest

run: setup-run
	HEARTH__AUTH__STRATEGY=$(AUTH) $(CARGO) run --locked -- serve --config $(CONFIG)

# nextest comes last, so that its summary closes the output
test: setup-test
	$(CARGO) test --locked --doc --quiet
	$(CARGO) nextest run --locked --all-targets

# each micro-bench for a second: they show where time goes, the table shows whether it is too much
bench: setup-bench
	$(CARGO) bench --locked $(MICRO_BENCHES:%=--bench %) -- --warm-up-time 0.5 --measurement-time 1
	$(CARGO) bench --locked --bench attach_storm

crash: export HEARTH_CRASH_KILLS ?= 200
crash: setup-test
	HEARTH_CRASH_ROUNDS=$${HEARTH_CRASH_ROUNDS:-20} $(CARGO) nextest run --locked -E 'test(/^crash::/)'

tempest: setup-tempest
	$(CARGO) build --locked
	$${CARGO_TARGET_DIR:-target}/tempest-venv/bin/python -B tests/tempest/run.py

setup-run:
	@scripts/setup.sh run

setup-test:
	@scripts/setup.sh test

setup-bench:
	@scripts/setup.sh bench

setup-tempest:
	@scripts/setup.sh tempest
