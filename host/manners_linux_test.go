package host

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestGiveWay(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	tid := syscall.Gettid()
	cpus, err := CPUs()
	require.NoError(t, err)
	state := func() (policy uint32, cpus unix.CPUSet) {
		attr, err := unix.SchedGetAttr(tid, 0)
		require.NoError(t, err)
		require.NoError(t, unix.SchedGetaffinity(tid, &cpus))
		return attr.Policy, cpus
	}
	policy, _ := state()
	if policy != unix.SCHED_NORMAL {
		t.Skip("somebody has chosen a policy")
	}
	require.NoError(t, GiveWay(tid, cpus[:1]))
	policy, on := state()
	assert.EqualValues(t, unix.SCHED_BATCH, policy)
	assert.True(t, on.Count() == 1 && on.IsSet(cpus[0]))
	assert.Error(t, GiveWay(tid, cpus), "it does already")

	require.NoError(t, TakeWay(tid, cpus))
	policy, on = state()
	assert.EqualValues(t, unix.SCHED_NORMAL, policy)
	assert.Equal(t, len(cpus), on.Count())
	assert.Error(t, TakeWay(tid, cpus), "it does already")
	assert.Error(t, GiveWay(1<<30, cpus))
	assert.Error(t, GiveWay(tid, nil), "there is no CPU")
	policy, on = state()
	assert.EqualValues(t, unix.SCHED_NORMAL, policy)
	assert.Equal(t, len(cpus), on.Count())

	require.NoError(t, GiveWay(tid, cpus[:1]))
	assert.Error(t, TakeWay(tid, nil), "all CPUs have been taken away")
	policy, _ = state()
	assert.EqualValues(t, unix.SCHED_NORMAL, policy)
}
