package netlab_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netlab"
	"usvs/link/netnstest"
	"usvs/wire"
)

// enterEnv makes the test's program call Enter and report what it came to.
const enterEnv = "NETLAB_TEST_ENTER"

func TestMain(m *testing.M) {
	if os.Getenv(enterEnv) != "" {
		os.Exit(enter())
	}
	os.Exit(m.Run())
}

// enter enters, says where it is, and ends with a status of its own.
func enter() int {
	status, inside, err := netlab.Enter()
	switch {
	case err != nil:
		fmt.Println("refused:", err)
		return 3
	case !inside:
		return status
	}
	links, _ := net.Interfaces()
	self, _ := os.Readlink("/proc/self")
	fmt.Println("pid", os.Getpid(), "self", self, "interfaces", len(links), "args", strings.Join(os.Args[1:], " "))
	return 7
}

func TestEnter(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "one", "two")
	cmd.Env = append(os.Environ(), enterEnv+"=1")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 3 {
		netnstest.Skip(t, "%s", out)
	}
	require.Error(t, err)
	require.Equal(t, 7, cmd.ProcessState.ExitCode(), "%s", out)
	require.Contains(t, string(out), "pid 1 ")
	require.Contains(t, string(out), "interfaces 1 args one two")
}

var (
	here  = netip.MustParsePrefix("10.0.0.1/24")
	there = netip.MustParsePrefix("10.0.0.2/24")
	six   = netip.MustParsePrefix("2001:db8::2/64")
)

// pair makes two machines with a cable between them.
func pair(t *testing.T) (a, b *netlab.Namespace) {
	t.Helper()
	var err error
	a, err = netlab.New("a")
	require.NoError(t, err)
	t.Cleanup(a.Close)
	b, err = netlab.New("b")
	require.NoError(t, err)
	t.Cleanup(b.Close)
	b.TrySysctls("net/ipv6/conf/all/disable_ipv6=0", "net/ipv6/conf/default/disable_ipv6=0")
	require.NoError(t, a.Veth("eth0", wire.MAC{2, 0, 0, 0, 0, 1}, b, "eth0"))
	require.NoError(t, a.SetUp("eth0", here))
	require.NoError(t, b.SetUp("eth0", there, six))
	return a, b
}

func TestMachines(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		a, b := pair(t)
		require.Equal(t, "a", a.Name())
		link, err := a.Netlink().LinkByName("eth0")
		require.NoError(t, err)
		require.Equal(t, "02:00:00:00:00:01", link.Attrs().HardwareAddr.String())
		require.NoError(t, a.SetMTU("eth0", 1400))
		require.NoError(t, a.AddGateway(there.Addr()))
		require.Error(t, a.AddGateway(netip.MustParseAddr("192.0.2.1")), "not on a segment of ours")
		require.Error(t, a.SetUp("eth9"))
		require.Error(t, a.SetMTU("eth9", 1400))
		require.Error(t, a.Veth("eth0", wire.MAC{2, 0, 0, 0, 0, 3}, b, "eth1"), "there is one of the name")

		var ln net.Listener
		require.NoError(t, b.Do(func() (err error) {
			ln, err = net.Listen("tcp", "10.0.0.2:80")
			return err
		}))
		defer ln.Close()
		require.NoError(t, a.Do(func() error {
			conn, err := net.DialTimeout("tcp", "10.0.0.2:80", 5*time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		}))
		_, err = net.DialTimeout("tcp", "10.0.0.2:80", time.Second)
		require.Error(t, err, "the test itself is in none of them")
	})
}

func TestSysctls(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		a, b := pair(t)
		a.TrySysctls("net/ipv4/ip_forward=1", "net/no/such=1")
		require.NoError(t, b.Sysctl("net/ipv4/ip_forward", "0"))
		require.Error(t, b.Sysctl("net/no/such", "1"))
		for ns, want := range map[*netlab.Namespace]string{a: "1", b: "0"} {
			var text []byte
			require.NoError(t, ns.Do(func() (err error) {
				text, err = os.ReadFile("/proc/sys/net/ipv4/ip_forward")
				return err
			}))
			require.Equal(t, want, strings.TrimSpace(string(text)), ns.Name())
		}
	})
}

// TestNoOffload looks at the first segments of much data: whole checksums, and
// none longer than the MTU.
func TestNoOffload(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		a, b := pair(t)
		require.NoError(t, a.NoOffload("eth0"))
		require.NoError(t, b.NoOffload("eth0"))
		require.Error(t, a.NoOffload("eth9"))
		var tap int
		require.NoError(t, b.Do(func() (err error) {
			all := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8)
			tap, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(all))
			return err
		}))
		defer unix.Close(tap)
		send(t, a, b, make([]byte, 100_000))
		segments := 0
		buf := make([]byte, 1<<16)
		for {
			n, _, err := unix.Recvfrom(tap, buf, unix.MSG_DONTWAIT)
			if err != nil {
				break
			}
			var p wire.Packet
			if p.Parse(buf[:n], wire.Ethernet) != wire.None || p.Proto != wire.ProtoTCP {
				continue
			}
			segments++
			body := p.Transport()
			require.LessOrEqual(t, n, wire.EthernetLen+1500)
			require.Zero(t, ^wire.Fold(wire.Sum(body, wire.PseudoSum(p.Src, p.Dst, p.Proto, len(body))))&0xffff)
		}
		require.Greater(t, segments, 50)
	})
}

// send sends data from a to b and waits until b has it.
func send(t *testing.T, a, b *netlab.Namespace, data []byte) {
	t.Helper()
	var ln net.Listener
	require.NoError(t, b.Do(func() (err error) {
		ln, err = net.Listen("tcp", "10.0.0.2:80")
		return err
	}))
	defer ln.Close()
	got := make(chan int)
	go func() {
		n := 0
		defer func() { got <- n }()
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 1<<16)
		for {
			k, err := conn.Read(buf)
			if n += k; err != nil {
				return
			}
		}
	}()
	var conn net.Conn
	require.NoError(t, a.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", "10.0.0.2:80", 5*time.Second)
		return err
	}))
	_, err := conn.Write(data)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.Equal(t, len(data), <-got)
}

func TestProcesses(t *testing.T) {
	netnstest.NeedCommands(t, "sh", "sleep", "setsid")
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		a, b := pair(t)
		p, err := a.Start(exec.Command("sh", "-c", "echo one; echo two >&2; cat /proc/net/dev; exec sleep 1000"))
		require.NoError(t, err)
		require.NoError(t, p.WaitFor("the devices", 10*time.Second, has("eth0")))
		require.Contains(t, p.Output(), "one\ntwo\n")
		require.Error(t, p.WaitFor("it", 10*time.Millisecond, has("three")))
		p.Stop()
		<-p.Done()
		require.Error(t, p.Err(), "ended by a signal")
		require.NoError(t, p.WaitFor("it", time.Second, has("two")), "it had said so before it ended")
		require.ErrorContains(t, p.WaitFor("it", time.Second, has("three")), "it: the process ended")

		_, err = a.Start(exec.Command("/no/such/program"))
		require.ErrorContains(t, err, "on a")

		leaver, err := a.Start(exec.Command("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"))
		require.NoError(t, err)
		<-leaver.Done()
		pid := strings.TrimSpace(leaver.Output())
		other, err := b.Start(exec.Command("sleep", "1000"))
		require.NoError(t, err)
		a.EndProcesses()
		require.Eventually(t, func() bool { return ended(pid) }, 5*time.Second, 5*time.Millisecond)
		select {
		case <-other.Done():
			t.Error("a process of another machine has ended")
		default:
		}
		b.EndProcesses()
		<-other.Done()
	})
}

func has(text string) func(string) bool {
	return func(output string) bool { return strings.Contains(output, text) }
}

// ended reports whether a process is no more, or only its number is left.
func ended(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestSelfIsThisProgram(t *testing.T) {
	t.Setenv("USVS_CONTROL", "@elsewhere")
	cmd := netlab.Self("ipvsadm-save", "-n")
	require.Equal(t, []string{"ipvsadm-save", "-n"}, cmd.Args)
	require.NotContains(t, strings.Join(cmd.Env, "\n"), "USVS_CONTROL")
	mine, err := os.Stat("/proc/self/exe")
	require.NoError(t, err)
	its, err := os.Stat(cmd.Path)
	require.NoError(t, err)
	require.True(t, os.SameFile(mine, its))
}

func TestExplain(t *testing.T) {
	require.ErrorContains(t, netlab.Explain(unix.EPERM), "root")
	require.ErrorContains(t, netlab.Explain(unix.EOPNOTSUPP), "modprobe")
	require.Equal(t, unix.EINVAL, netlab.Explain(unix.EINVAL))
}
