package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/bench/lab"
	"usvs/link/netnstest"
)

// usvsBenchLab runs a suite that needs namespaces. This test binary is the usvs
// that is measured, and the one that stands beside it.
func usvsBenchLab(t *testing.T, suite, only string) (table, progress string) {
	t.Helper()
	netnstest.NeedCommands(t, "nft")
	if err := lab.EnoughCores(); err != nil {
		netnstest.Skip(t, "%v", err)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	table, progress, err = usvsBench(t, suite, "--quick", "--only", only, "--usvs", self)
	if strings.Contains(table, "does not permit new namespaces") {
		netnstest.Skip(t, "%s", table)
	}
	require.NoError(t, err)
	return table, progress
}

func TestBenchIO(t *testing.T) {
	table, progress := usvsBenchLab(t, "io", "DR 64 B, 1k flows, pinned, (auto|ip_forward)($|, at| beside)")
	require.Contains(t, table, "DR 64 B, 1k flows, pinned, auto, at twice its best rate")
	require.Contains(t, table, "DR 64 B, 1k flows, pinned, auto beside ")
	require.Contains(t, table, "DR 64 B, 1k flows, pinned, ip_forward")
	require.Contains(t, table, " 0 not measured", progress)
}

func TestBenchTCP(t *testing.T) {
	table, progress := usvsBenchLab(t, "tcp", "(requests|connections|round trip|1 stream|p99|processor).*, (DR|NAT|no director)$")
	require.Contains(t, table, "requests, DR")
	require.Contains(t, table, "bulk TCP, 1 stream, NAT")
	require.Contains(t, table, "processor without traffic, DR")
	require.Contains(t, table, " 0 not measured", progress)
}

func TestBenchInsideRefuses(t *testing.T) {
	_, _, err := usvsBench(t, "inside", "mars")
	require.ErrorContains(t, err, `no suite "mars"`)
	_, _, err = usvsBench(t, "inside", "io")
	require.ErrorContains(t, err, "for usvs bench to call")
	_, _, err = usvsBench(t, "io", "--usvs", "/no/such/program")
	require.ErrorContains(t, err, "--usvs")
}

// TestBenchThreaded: kernel threads receive, kept on a core from outside, which
// only root may do.
func TestBenchThreaded(t *testing.T) {
	if os.Geteuid() != 0 {
		netnstest.Skip(t, "not root")
	}
	table, progress := usvsBenchLab(t, "io", "DR 64 B, 1k flows, pinned, (xdp|nft DNAT, threaded NAPI)$")
	if strings.Contains(progress, "operation not permitted") {
		netnstest.Skip(t, "%s", progress)
	}
	require.Contains(t, table, "DR 64 B, 1k flows, pinned, xdp")
	require.Contains(t, table, " 0 not measured", progress)
}
