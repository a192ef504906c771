package main

import (
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/host"
	"usvs/link/netnstest"
	"usvs/link/staff"
	"usvs/link/steer"
)

// The first worker's threads leave a CPU and come back; no other does.
func TestKeepOff(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	cpus, err := host.CPUs()
	require.NoError(t, err)
	attr, err := unix.SchedGetAttr(0, 0)
	require.NoError(t, err)
	if len(cpus) < 2 || attr.Policy != unix.SCHED_NORMAL {
		t.Skip("it takes two CPUs to choose from")
	}
	tid, unknown := new(atomic.Int32), new(atomic.Int32)
	tid.Store(int32(syscall.Gettid()))
	n := &node{log: slog.New(slog.DiscardHandler), workers: automatic(nil, cpus)}
	n.staffing.threads = [][]*atomic.Int32{{tid, unknown}}
	n.staffing.manners = newManners(&n.workers)

	var on unix.CPUSet
	require.NoError(t, n.keepOff(cpus[0]))
	require.NoError(t, unix.SchedGetaffinity(0, &on))
	assert.True(t, on.Count() == len(cpus)-1 && !on.IsSet(cpus[0]))
	require.NoError(t, n.keepOff(staff.Nowhere))
	require.NoError(t, unix.SchedGetaffinity(0, &on))
	assert.Equal(t, len(cpus), on.Count())

	require.NoError(t, n.keepOff(cpus[1]))
	n.forgetManners(errors.New("not permitted"))
	require.NoError(t, unix.SchedGetaffinity(0, &on))
	assert.Equal(t, len(cpus), on.Count())
	assert.Nil(t, n.staffing.manners.rules)
	var r staff.Reading
	n.seeReceived(&r)
	n.staffing.manners.seeWaits(&r, []host.ThreadTimes{{Waited: 1, Turns: 1}})
	assert.Equal(t, staff.Reading{}, r, "nobody looks any more")
	n.behave(r, 1)
}

// A policy that somebody has chosen stays, whatever goes wrong.
func TestKeepOffLeavesOthersPolicy(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	attr, err := unix.SchedGetAttr(0, 0)
	require.NoError(t, err)
	attr.Policy = unix.SCHED_BATCH
	require.NoError(t, unix.SchedSetAttr(0, attr, 0))
	cpus, err := host.CPUs()
	require.NoError(t, err)
	tid := new(atomic.Int32)
	tid.Store(int32(syscall.Gettid()))
	n := &node{log: slog.New(slog.DiscardHandler), workers: workers{among: append(cpus, host.MaxCPUs-1)}}
	n.staffing.threads = [][]*atomic.Int32{{tid}}
	n.staffing.manners = newManners(&n.workers)

	require.Error(t, n.keepOff(host.MaxCPUs-1))
	n.forgetManners(errors.New("not permitted"))
	attr, err = unix.SchedGetAttr(0, 0)
	require.NoError(t, err)
	assert.EqualValues(t, unix.SCHED_BATCH, attr.Policy)
}

// Without traffic nothing is asked: there is no steering here that could be.
func TestReceivedWithoutTraffic(t *testing.T) {
	n := &node{}
	n.staffing.manners.rules = staff.NewManners()
	n.staffing.last = staff.Reading{Frames: 1000, Received: []uint64{900, 100}}
	r := staff.Reading{Frames: 1000 + hardlyAny - 1}
	n.seeReceived(&r)
	assert.Equal(t, []uint64{900, 100}, r.Received)

	var err error
	if n.steering, err = steer.New(1); err != nil {
		netnstest.Skip(t, "%v", err)
	}
	defer n.steering.Close()
	r.At = r.At.Add(askEvery)
	n.seeReceived(&r)
	assert.NotEqual(t, []uint64{900, 100}, r.Received, "little by little it is more than can be left out")
	assert.Equal(t, r.At, n.staffing.manners.asked)
}

// Threads that were given their CPUs stay there.
func TestNoMannersWhereTold(t *testing.T) {
	w := automatic([]int{0, 1}, []int{0, 1, 2})
	assert.Nil(t, newManners(&w).rules)
	w = automatic(nil, []int{0, 1, 2})
	assert.NotNil(t, newManners(&w).rules)
}

// What a thread waits while it gives way, and only that, is not held against it.
func TestForgive(t *testing.T) {
	var m manners
	assert.Zero(t, m.pardon(0, 1))
	m.forgive([]time.Duration{10, 20})
	assert.Zero(t, m.pardon(0, 1), "it may have waited before")
	m.forgive([]time.Duration{11, 25})
	m.waited = nil
	m.forgive([]time.Duration{100, 100})
	m.forgive([]time.Duration{100, 101})
	assert.EqualValues(t, 1, m.pardon(0, 0))
	assert.EqualValues(t, 6, m.pardon(0, 1))
	assert.Zero(t, m.pardon(1, 1), "another worker's")
}
