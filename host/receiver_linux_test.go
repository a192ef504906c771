package host

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

// queueing gives an interface of a test something that a thread can do.
func queueing(lab *netnstest.Lab) {
	lab.Veth(lab.Home, "eth0", lab.Namespace("far"), "eth0")
	lab.Home.Run("ethtool", "-K", "eth0", "gro", "on")
}

func readSwitch(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/sys/class/net/eth0/threaded")
	require.NoError(t, err)
	return strings.TrimSpace(string(text))
}

func runReceiverTest(t *testing.T, f func(t *testing.T, lab *netnstest.Lab)) {
	netnstest.NeedCommands(t, "ethtool")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		if _, err := os.Stat("/sys/class/net/lo/threaded"); err != nil {
			netnstest.Skip(t, "no threads that receive before Linux 5.12: %v", err)
		}
		f(t, lab)
	})
}

// TestReceiver: threads receive until Close, and as long as they did before.
func TestReceiver(t *testing.T) {
	runReceiverTest(t, func(t *testing.T, lab *netnstest.Lab) {
		_, err := NewReceiver("eth0", nil)
		require.ErrorContains(t, err, "no such network interface")
		lab.Veth(lab.Home, "eth0", lab.Namespace("far"), "eth0")
		_, err = NewReceiver("eth0", nil)
		require.ErrorIs(t, err, ErrNoReceiver)
		assert.Equal(t, "0", readSwitch(t))

		lab.Home.Run("ethtool", "-K", "eth0", "gro", "on")
		r, err := NewReceiver("eth0", nil)
		require.NoError(t, err)
		assert.Equal(t, "1", readSwitch(t))
		second, err := NewReceiver("eth0", nil)
		require.NoError(t, err)
		require.NoError(t, second.Close())
		assert.Equal(t, "1", readSwitch(t), "it was on before the second came")
		require.NoError(t, r.Close())
		assert.Equal(t, "0", readSwitch(t))
	})
}

// TestReceiverFollows an interface that is made anew.
func TestReceiverFollows(t *testing.T) {
	runReceiverTest(t, func(t *testing.T, lab *netnstest.Lab) {
		queueing(lab)
		r, err := NewReceiver("eth0", nil)
		require.NoError(t, err)
		_, _ = r.Place() // the threads are in another PID namespace
		again, err := r.Follow()
		require.NoError(t, err)
		assert.False(t, again, "there is nothing to do")

		link, err := netlink.LinkByName("eth0")
		require.NoError(t, err)
		require.NoError(t, netlink.LinkDel(link))
		_, err = r.Follow()
		require.ErrorContains(t, err, "no such network interface")
		_, err = r.Follow()
		require.Error(t, err, "still")

		queueing(lab)
		again, err = r.Follow()
		require.NoError(t, err)
		assert.True(t, again)
		assert.Equal(t, "1", readSwitch(t))

		lab.Home.Run("ip", "link", "del", "eth0")
		queueing(lab)
		require.NoError(t, os.WriteFile("/sys/class/net/eth0/threaded", []byte("1"), 0))
		again, err = r.Follow()
		require.NoError(t, err)
		assert.True(t, again)
		require.NoError(t, r.Close())
		assert.Equal(t, "1", readSwitch(t), "of this one it was on before")

		r, err = NewReceiver("eth0", nil)
		require.NoError(t, err)
		lab.Home.Run("ip", "link", "del", "eth0")
		require.NoError(t, r.Close(), "an interface that is gone needs nothing")
	})
}

// TestReceiverThreads: the kernel tells which threads receive, where it can, and
// that they are not to be seen.
func TestReceiverThreads(t *testing.T) {
	runReceiverTest(t, func(t *testing.T, lab *netnstest.Lab) {
		queueing(lab)
		r, err := NewReceiver("eth0", []int{0})
		require.NoError(t, err)
		defer r.Close()
		threads, err := ReceiverThreads("eth0")
		if err != nil {
			netnstest.Skip(t, "the kernel does not tell before Linux 6.8: %v", err)
		}
		require.Len(t, threads, 1)
		assert.True(t, isReceiverOf(threads[0], "eth0"), threads[0])
		if os.Getpid() == 1 { // of a PID namespace
			_, err = r.Place()
			require.ErrorIs(t, err, ErrNoThreads)
		}
		_, err = ReceiverThreads("none")
		require.Error(t, err)
	})
}

// TestForeignSysfs: an interface is not mistaken for another namespace's.
func TestForeignSysfs(t *testing.T) {
	runReceiverTest(t, func(t *testing.T, lab *netnstest.Lab) {
		queueing(lab)
		lab.Namespace("elsewhere").Do(func() {
			_, err := NewReceiver("eth0", nil)
			require.ErrorContains(t, err, "no such network interface")
		})
		out, err := helperWithoutCapabilities(lab, "receiver")
		require.Error(t, err)
		assert.NotContains(t, out, "network namespace", "/sys is the right one")
		assert.Equal(t, "0", readSwitch(t))
	})
}

// helpReceiver is what a process without permissions says.
func helpReceiver() error {
	_, err := NewReceiver("eth0", nil)
	return err
}

func TestIsReceiverOf(t *testing.T) {
	for thread, want := range map[string]bool{
		"napi/eth0-8193": true, "napi/eth0-0": true,
		"napi/eth0-": false, "napi/eth0": false, "napi/eth0-1-2": false, "napi/eth01-1": false,
		"napi/eth-0-1": false, "eth0-1": false, "napi/eth0-x": false, "": false,
	} {
		assert.Equal(t, want, isReceiverOf(thread, "eth0"), thread)
	}
	assert.True(t, isReceiverOf("napi/eth-0-1", "eth-0"))
}

// TestPlaceReceiver: any thread will do.
func TestPlaceReceiver(t *testing.T) {
	cpus, err := CPUs()
	require.NoError(t, err)
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	pid := cmd.Process.Pid
	last := cpus[len(cpus)-1]
	require.NoError(t, placeReceiver(pid, []int{last}))
	var set unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(pid, &set))
	assert.Equal(t, 1, set.Count())
	assert.True(t, set.IsSet(last))
	require.NoError(t, placeReceiver(pid, nil))
	require.NoError(t, unix.SchedGetaffinity(pid, &set))
	assert.Equal(t, 1, set.Count(), "as it is")
	attr, err := unix.SchedGetAttr(pid, 0)
	require.NoError(t, err)
	assert.EqualValues(t, unix.SCHED_NORMAL, attr.Policy)
	if attr.Runtime != 0 { // Linux 6.12
		assert.EqualValues(t, receiverSlice, attr.Runtime)
	}
}

// TestPlaceReceiverRefusals: only kernel threads that receive are placed.
func TestPlaceReceiverRefusals(t *testing.T) {
	require.ErrorContains(t, PlaceReceiver("kthreadd", nil), "not a kernel thread that receives")
	require.ErrorIs(t, PlaceReceiver("napi/none-0", nil), ErrNoThreads)
	assert.False(t, isKernelThread(os.Getpid()), "it has a program")
	name, err := os.ReadFile("/proc/2/comm")
	if err == nil && strings.TrimSpace(string(name)) == "kthreadd" {
		assert.True(t, isKernelThread(2))
		pids, err := findReceivers(func(thread string) bool { return thread == "kthreadd" })
		require.NoError(t, err)
		assert.Equal(t, []int{2}, pids)
	}
	own, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	_, err = findReceivers(func(thread string) bool { return thread == strings.TrimSpace(string(own)) })
	require.ErrorIs(t, err, ErrNoThreads, "process "+strconv.Itoa(os.Getpid())+" is no kernel thread")
}

func FuzzNAPIOf(f *testing.F) {
	f.Add([]byte{napiGet, 1, 0, 0, 8, 0, napiID, 0, 1, 0x20, 0, 0})
	f.Add([]byte{napiGet, 1, 0})
	f.Add([]byte{napiGet, 1, 0, 0, 3, 0, napiID, 0})
	f.Add([]byte{napiGet, 1, 0, 0, 7, 0, napiID, 0, 1, 2, 3}) // without padding
	f.Fuzz(func(t *testing.T, message []byte) { _, _ = napiOf(message) })
}
