# usvs: make test | check | deps | demo | install
GO       ?= go
PREFIX   ?= /usr/local
SBINDIR  ?= $(PREFIX)/sbin
UNITDIR  ?= /etc/systemd/system
DESTDIR  ?=

# What the tests use, as Debian packages: programs to talk with, tshark to read
# captures back, Node.js to run the simulation as js/wasm, and a browser to look
# at the page of usvs sim --html.
DEBIAN_DEPS = iproute2 nftables iputils-ping iputils-arping curl nginx-light iperf3 tcpdump procps ethtool tshark nodejs chromium vsftpd sip-tester ipvsadm keepalived

.PHONY: all build deps test check lint parkpoints bytes fuzz simfuzz properties mutants hashes differential demo bench pgo outage install uninstall clean

all: build

build:
	$(GO) build -o usvs ./cmd/usvs

deps:
	@command -v apt-get >/dev/null || { echo "make deps knows Debian's apt-get only; install: $(DEBIAN_DEPS)" >&2; exit 1; }
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBIAN_DEPS)

# How many tests of a package run at once: those with networks of their own
# mostly wait. What go vet says make lint asks for.
PARALLEL ?= 4
TESTFLAGS = -vet=off -timeout 20m -parallel $(PARALLEL)

# Everything that must pass, with a list of what had to be skipped and why.
test:
	@$(GO) run ./internal/testrun $(TESTFLAGS) ./...

check: lint test parkpoints race

# Without the profile, by which cmd/usvs and all that it imports would be looked at
# twice.
lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet -pgo=off ./...
	GOFLAGS="$$($(GO) env GOFLAGS) -pgo=off" $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

# The lock-free promise: one goroutine parked at every step, the others go on.
parkpoints:
	$(GO) test -tags parkpoints -run Park ./conntrack

# Without tests that mostly wait for other programs, and long ones of a single
# goroutine, at which there is nothing to detect: make test has them, and others of
# their kind stay. Without the profile, which would have everything compiled once
# more. A package more than there are processors, because some wait.
RACE_SINGLE = TestTrim|TestTrimKeepsTheLimit|TestGrowth|TestChainBound|TestHitIsLookupAndPacket|TestTimersCostLittle|TestPrepare|TestRecordsAreFew|TestFind|TestHash(Spreads|Pairs|ForgetsNothing)|TestModel|TestPrepare(Racks|ChangesNothing)|TestEngineModel|TestFirst|TestFastLaneIsInvisible|TestIndexAgainstModel|TestNeededAgainstModel
RACE_SKIP = ^($(RACE_SINGLE)|TestBench(Quick|IO|TCP|Threaded)|TestKeepalived.+|TestThroughput|TestExecKills|TestExecLargeTable|TestBytes|TestFlood|TestShares|TestPersistence|TestOwnHost.+|TestSIPCalls|TestVRRPInterop|TestNodePair)$$
RACE_PKGS ?= ./...
RACE_RUN ?= .
race:
	$(GO) test -race -pgo=off -short $(TESTFLAGS) -p $$(($$(nproc) + 1)) -run '$(RACE_RUN)' -skip '$(RACE_SKIP)' $(RACE_PKGS)

# A gigabyte up and one down over every way in and out of a director and in
# every forwarding mode, with equal hashes at both ends. make test moves 64 MiB.
BYTES ?= 1024
bytes:
	USVS_BYTES=$(BYTES) $(GO) test -timeout 60m -parallel 1 -v -run '^TestBytes$$' ./integration

# A short fuzz of every parser. FUZZTIME=10m make fuzz for a long one.
FUZZTIME ?= 5s
fuzz:
	@$(GO) run ./internal/fuzzall -time $(FUZZTIME)

# Random scenarios, judged after every frame: SIMFUZZ="--minutes 10" make simfuzz
SIMFUZZ ?= --seeds 500
simfuzz:
	@$(GO) run ./cmd/usvs sim fuzz $(SIMFUZZ)

# Deliberate mistakes, each of which scenarios or fuzz must notice.
mutants:
	@$(GO) run ./internal/mutants

# What must hold for every state and every frame, at length: a million random
# operations of each scheduler, a million frames of each kind.
properties:
	USVS_LONG=1 $(GO) test -timeout 60m -v -run 'AgainstModels|Every' ./sched ./properties

# The simulation gives the same bytes on a processor of another kind.
hashes:
	@command -v qemu-aarch64-static >/dev/null || { echo "make hashes emulates arm64: apt-get install qemu-user-static" >&2; exit 1; }
	GOARCH=arm64 CGO_ENABLED=0 $(GO) test -exec qemu-aarch64-static -run 'TestRecordedHashes$$' -v ./netsim

# Random scenarios in the real kernel, as a process, and in usvs (docs/differential.md).
AREA ?= all
N    ?= 100
SEED ?= 1
differential:
	@$(GO) build -o "$${TMPDIR:-/tmp}/usvs-differential" ./internal/differential
	@"$${TMPDIR:-/tmp}/usvs-differential" -area $(AREA) -n $(N) -seed $(SEED) $(ARGS)

demo:
	$(GO) run ./cmd/usvs demo

# Beside its targets and peers: BENCH="all --out bench" make bench for everything,
# recorded (docs/performance.md).
BENCH ?= engine table
bench: build
	./usvs bench $(BENCH)

# The profile that usvs is compiled by, made anew after larger changes of the data
# path (docs/performance.md). Nothing else should run meanwhile.
pgo: build
	./usvs bench profile cmd/usvs/default.pgo

# What clients notice of a failover, of a pair of usvs and of a pair of keepalived
# with usvs exec (docs/high-availability.md).
outage:
	USVS_OUTAGE=1 $(GO) test -timeout 10m -v -run '^TestOutage$$' ./integration

install: build
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(UNITDIR)
	install -m 0755 usvs $(DESTDIR)$(SBINDIR)/usvs
	test -e $(DESTDIR)$(SBINDIR)/ipvsadm || ln -s usvs $(DESTDIR)$(SBINDIR)/ipvsadm
	sed "s|@SBINDIR@|$(SBINDIR)|" packaging/usvs.service >$(DESTDIR)$(UNITDIR)/usvs.service
	@echo "installed; edit /etc/usvs.rules and /etc/default/usvs, then: systemctl enable --now usvs"

uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/usvs $(DESTDIR)$(UNITDIR)/usvs.service
	test "$$(readlink $(DESTDIR)$(SBINDIR)/ipvsadm)" != usvs || rm -f $(DESTDIR)$(SBINDIR)/ipvsadm

clean:
	rm -f usvs
