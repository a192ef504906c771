package main

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// autoNode is one for as many workers as help, on eth0 of a test's namespace.
func autoNode(t *testing.T, lab *netnstest.Lab) (n *node, log *bytes.Buffer) {
	t.Helper()
	lab.Veth(lab.Home, "eth0", lab.Namespace("far"), "eth0")
	log = new(bytes.Buffer)
	n = &node{log: slog.New(slog.NewTextHandler(log, nil)), workers: workers{count: 2, auto: true, among: []int{0, 1}}}
	t.Cleanup(n.close)
	return n, log
}

// Where several workers cannot share an interface, as before Linux 6.13 while it
// is down, one will do unless several were asked for.
func TestOneWorkerIfNotSeveral(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		n, log := autoNode(t, lab)
		if n.openSteering(true); n.steering == nil {
			netnstest.Skip(t, "frames cannot be steered here")
		}
		require.NoError(t, n.steering.Close()) // no group can have its program
		queues, err := n.openInterface("eth0", ioMmsg)
		require.NoError(t, err)
		n.devices = append(n.devices, queues)
		require.Len(t, queues, 1)
		assert.False(t, n.staffed())
		assert.Contains(t, log.String(), "one worker on this interface")

		n.workers = workers{count: 2}
		_, err = n.openInterface("eth0", ioMmsg)
		require.ErrorContains(t, err, "fanout")
		n.steering = nil
	})
}

// Where nobody shares, nothing is said of sharing.
func TestNoStaffForXDP(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		n, log := autoNode(t, lab)
		if err := n.openDevices(runFlags{interfaces: []string{"eth0"}, method: ioXDP, receiving: napiKeep}); err != nil {
			netnstest.Skip(t, "%v", err)
		}
		assert.Equal(t, 1, n.workers.count)
		assert.Nil(t, n.steering)
		assert.NotContains(t, log.String(), "count=2")
	})
}
