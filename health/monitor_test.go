package health

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

// TestOrder: what follows what when a server goes, with the last of the weight,
// and comes back.
func TestOrder(t *testing.T) {
	vs := two()
	vs.Quorum, vs.SMTPAlert, vs.Sorry = 2, true, sorryAt("10.9.1.9:80")
	vs.QuorumUp, vs.QuorumDown = &Script{Args: []string{"up"}}, &Script{Args: []string{"down"}}
	vs.Servers[0].NotifyUp, vs.Servers[0].NotifyDown = &Script{Args: []string{"server", "up"}}, &Script{Args: []string{"server", "down"}}
	l := newLab(t, &Config{RouterID: "lvs1", VirtualServers: []*VirtualServer{vs}})
	l.m.Start(0)
	assert.Equal(t, []string{
		"0.000 ipvs add service TCP 10.9.9.1:80",
		"0.000 ipvs add server 10.9.1.1:80 of TCP 10.9.9.1:80 w=1",
		"0.000 ipvs add server 10.9.1.2:80 of TCP 10.9.9.1:80 w=1",
		"0.000 log Gained quorum 2+0=2 <= 2 for VS [10.9.9.1]:tcp:80",
		"0.000 fifo VS [10.9.9.1]:tcp:80 UP",
		"0.000 script [up]",
		"0.000 mail [lvs1] Virtualserver [10.9.9.1]:tcp:80 - UP: => Starting with quorum up 2+0=2 <= 2 <=",
		"0.000 log Activating healthchecker for service [10.9.1.1]:tcp:80 for VS [10.9.9.1]:tcp:80",
		"0.000 log Activating healthchecker for service [10.9.1.2]:tcp:80 for VS [10.9.9.1]:tcp:80",
	}, l.take())

	l.does["10.9.1.1:80"] = "failed"
	l.run(1.5)
	assert.Equal(t, []string{
		"1.001 log TCP_CHECK on service [10.9.1.1]:tcp:80 failed.",
		"1.001 log Removing service [10.9.1.1]:tcp:80 from VS [10.9.9.1]:tcp:80",
		"1.001 ipvs delete server 10.9.1.1:80 of TCP 10.9.9.1:80",
		"1.001 fifo RS [10.9.1.1]:tcp:80 [10.9.9.1]:tcp:80 DOWN",
		"1.001 script [server down]",
		"1.001 log Lost quorum 2-0=2 > 1 for VS [10.9.9.1]:tcp:80",
		"1.001 log Adding sorry server [10.9.1.9]:tcp:80 to VS [10.9.9.1]:tcp:80",
		"1.001 log Removing alive servers from the pool for VS [10.9.9.1]:tcp:80",
		"1.001 ipvs delete server 10.9.1.2:80 of TCP 10.9.9.1:80",
		"1.001 ipvs add server 10.9.1.9:80 of TCP 10.9.9.1:80 w=1",
		"1.001 fifo VS [10.9.9.1]:tcp:80 DOWN",
		"1.001 script [down]",
		"1.001 mail [lvs1] Virtualserver [10.9.9.1]:tcp:80 - DOWN: => Lost quorum 2+0=2 <= 1 <=",
		"1.001 mail [lvs1] Realserver [10.9.1.1]:tcp:80 of virtual server [10.9.9.1]:tcp:80 - DOWN: => TCP CHECK failed on service <=",
		"1.001 log TCP connection to [10.9.1.2]:tcp:80 success.",
	}, l.take())

	l.does["10.9.1.1:80"] = "ok"
	l.run(3.5)
	assert.Equal(t, []string{
		"3.002 log TCP connection to [10.9.1.1]:tcp:80 success.",
		"3.002 log Adding service [10.9.1.1]:tcp:80 to VS [10.9.9.1]:tcp:80",
		"3.002 fifo RS [10.9.1.1]:tcp:80 [10.9.9.1]:tcp:80 UP",
		"3.002 script [server up]",
		"3.002 log Gained quorum 2+0=2 <= 2 for VS [10.9.9.1]:tcp:80",
		"3.002 log Removing sorry server [10.9.1.9]:tcp:80 from VS [10.9.9.1]:tcp:80",
		"3.002 ipvs delete server 10.9.1.9:80 of TCP 10.9.9.1:80",
		"3.002 log Adding alive servers to the pool for VS [10.9.9.1]:tcp:80",
		"3.002 ipvs add server 10.9.1.1:80 of TCP 10.9.9.1:80 w=1",
		"3.002 ipvs add server 10.9.1.2:80 of TCP 10.9.9.1:80 w=1",
		"3.002 fifo VS [10.9.9.1]:tcp:80 UP",
		"3.002 script [up]",
		"3.002 mail [lvs1] Virtualserver [10.9.9.1]:tcp:80 - UP: => Gained quorum 2+0=2 <= 2 <=",
		"3.002 mail [lvs1] Realserver [10.9.1.1]:tcp:80 of virtual server [10.9.9.1]:tcp:80 - UP: => TCP CHECK succeed on service <=",
	}, l.take())
}

// TestWorstCase: the time a server that is up takes to be found dead is its
// delay_loop and, at every retry, the attempt and delay_before_retry.
func TestWorstCase(t *testing.T) {
	check := checkOf(TCP, 3, 3*time.Second)
	l := newLab(t, &Config{VirtualServers: []*VirtualServer{virtual([]Service{serviceOf(tcp, "10.9.9.1", 80)}, 1, realAt("10.9.1.1:80", 1, check))}})
	l.m.Start(0)
	l.set(1.5, "10.9.1.1:80", "timeout") // the next attempt is at 3.001
	l.run(20)
	assert.Contains(t, l.take(), "16.001 log TCP_CHECK on service [10.9.1.1]:tcp:80 failed after 3 retries.")
}

// TestWarmup: the first attempt is at the earliest a second after the start, and
// at the latest warmup after that.
func TestWarmup(t *testing.T) {
	cfg := site(50, 10)
	l := newLab(t, cfg)
	l.m.Start(0)
	l.run(7)
	first, last := l.probes[0].at, l.probes[len(l.probes)-1].at
	require.Len(t, l.probes, 500)
	assert.Less(t, time.Second, time.Duration(first))
	assert.Greater(t, 1100*time.Millisecond, time.Duration(first))
	assert.Less(t, 6900*time.Millisecond, time.Duration(last))
}

// TestAdopts: IPVS has something already, or has lost it.
func TestAdopts(t *testing.T) {
	l := newLab(t, &Config{VirtualServers: []*VirtualServer{two()}})
	id := serviceOf(tcp, "10.9.9.1", 80).ID
	there := ipvs.ServerID{Addr: netip.MustParseAddr("10.9.1.1"), Port: 80}
	require.NoError(t, l.AddService(id, ipvs.ServiceSpec{}))
	require.NoError(t, l.AddServer(id, there, ipvs.ServerSpec{Weight: 9}))
	l.m.Start(0)
	assert.EqualValues(t, 1, l.table[id][there].Weight)
	said := l.take()
	assert.Contains(t, said, "0.000 log IPVS cmd IP_VS_SO_SET_ADD(1154) error: Service already exists(17) (10.9.9.1:tcp:80)")
	assert.Contains(t, said, "0.000 log IPVS cmd IP_VS_SO_SET_ADDDEST(1159) error: Destination already exists(17) (10.9.9.1:tcp:80 -> 10.9.1.1:80)")

	delete(l.table[id], there)
	l.does["10.9.1.1:80"] = "failed"
	l.run(1.5)
	assert.Contains(t, l.take(), "1.001 log IPVS cmd IP_VS_SO_SET_DELDEST(1160) error: No such destination(2) (10.9.9.1:tcp:80 -> 10.9.1.1:80)")
	assert.False(t, l.m.Status().Services[0].Servers[0].Up)
}

// TestLocalError: an attempt that could not be made says nothing about the
// server.
func TestLocalError(t *testing.T) {
	for _, kind := range []Kind{TCP, HTTP, SSL, SMTP, DNS, Misc, UDP, Ping} {
		check := checkOf(kind, 0, half)
		check.Probe.Script = &Script{Args: []string{"/bin/check"}}
		w := newWorld(t)
		m := New(&Config{VirtualServers: []*VirtualServer{virtual([]Service{serviceOf(tcp, "10.9.9.1", 80)}, 1, realAt("10.9.1.1:80", 1, check))}}, w, random())
		m.Start(0)
		now := clock.Instant(time.Second)
		m.Tick(now)
		require.Len(t, w.running, 1)
		w.take()
		for id := range w.running {
			m.Result(now, id, Result{Outcome: LocalError, Reason: "too many open files"})
		}
		assert.Equal(t, []string{"log " + kind.String() + " on service [10.9.1.1]:tcp:80: too many open files. Rescheduling."}, w.take())
		assert.Equal(t, clock.Instant(3*time.Second), m.Tick(now))
		assert.True(t, m.Status().Services[0].Servers[0].Up)
	}
}

// TestBFD: the recordings have no session.
func TestBFD(t *testing.T) {
	check := checkOf(BFD, 0, 0)
	check.Probe.Name = "peer"
	l := newLab(t, &Config{RouterID: "lvs1", VirtualServers: []*VirtualServer{virtual([]Service{serviceOf(tcp, "10.9.9.1", 80)}, 1, realAt("10.9.1.1:80", 1, check))}})
	l.m.Start(0)
	l.set(1, "peer", "failed")
	l.set(2, "peer", "ok")
	l.run(0.5)
	l.take()
	l.run(3)
	assert.Equal(t, []string{
		"1.000 log BFD check of [peer] RS([10.9.1.1]:tcp:80) is DOWN",
		"1.000 log Removing service [10.9.1.1]:tcp:80 from VS [10.9.9.1]:tcp:80",
		"1.000 ipvs delete server 10.9.1.1:80 of TCP 10.9.9.1:80",
		"1.000 fifo RS [10.9.1.1]:tcp:80 [10.9.9.1]:tcp:80 DOWN",
		"1.000 log Lost quorum 1-0=1 > 0 for VS [10.9.9.1]:tcp:80",
		"1.000 fifo VS [10.9.9.1]:tcp:80 DOWN",
		"1.000 mail [lvs1] Realserver [10.9.1.1]:tcp:80 of virtual server [10.9.9.1]:tcp:80 - DOWN: => BFD CHECK peer DOWN on service <=",
		"2.000 log BFD check of [peer] RS([10.9.1.1]:tcp:80) is UP",
		"2.000 log Adding service [10.9.1.1]:tcp:80 to VS [10.9.9.1]:tcp:80",
		"2.000 ipvs add server 10.9.1.1:80 of TCP 10.9.9.1:80 w=1",
		"2.000 fifo RS [10.9.1.1]:tcp:80 [10.9.9.1]:tcp:80 UP",
		"2.000 log Gained quorum 1+0=1 <= 1 for VS [10.9.9.1]:tcp:80",
		"2.000 fifo VS [10.9.9.1]:tcp:80 UP",
		"2.000 mail [lvs1] Realserver [10.9.1.1]:tcp:80 of virtual server [10.9.9.1]:tcp:80 - UP: => BFD CHECK peer UP on service <=",
	}, l.take())
}

func TestSuspend(t *testing.T) {
	vs := two()
	vs.HASuspend = true
	l := newLab(t, &Config{VirtualServers: []*VirtualServer{vs}})
	address := netip.MustParseAddr("10.9.9.1")
	l.m.SetAddress(0, address, true)
	l.m.Start(0)
	l.run(1.5)
	assert.Len(t, l.probes, 2, "the host has the address from the start")
	l.m.SetAddress(l.now, address, false)
	assert.True(t, l.m.Status().Services[0].Suspended)
	l.run(60)
	assert.Len(t, l.probes, 2)
	l.m.SetAddress(l.now, address, true)
	l.run(63)
	assert.Len(t, l.probes, 4)
}

// TestSuspendOfAGroup: the checks run for as long as clients come by any address.
func TestSuspendOfAGroup(t *testing.T) {
	vs := with(two(), func(vs *VirtualServer) {
		vs.Group, vs.HASuspend = "G", true
		vs.Services = append(vs.Services, serviceOf(tcp, "10.9.9.2", 80))
	})
	l := newLab(t, &Config{VirtualServers: []*VirtualServer{vs}})
	l.m.Start(0)
	suspended := func() bool {
		return l.m.Status().Services[0].Suspended || !l.m.services[0].servers[0].checks[0].enabled
	}
	assert.True(t, suspended())
	for _, step := range []struct {
		addr    string
		present bool
		want    bool
		log     string
	}{
		{"10.9.9.1", true, false, "Activating"},
		{"10.9.9.2", true, false, ""},
		{"10.9.9.1", false, false, ""},
		{"10.9.9.2", false, true, "Suspending"},
		{"10.9.9.2", true, false, "Activating"},
	} {
		l.take()
		l.m.SetAddress(l.now, netip.MustParseAddr(step.addr), step.present)
		assert.Equal(t, step.want, suspended(), step)
		said := strings.Join(l.take(), "\n")
		assert.Contains(t, said, "Netlink reflector reports IP "+step.addr)
		assert.Equal(t, step.log != "", strings.Contains(said, "healthchecker"), said)
		assert.Contains(t, said, step.log)
	}
}

// TestStopModes: what is left of the table.
func TestStopModes(t *testing.T) {
	id := serviceOf(tcp, "10.9.9.1", 80).ID
	for mode, want := range map[StopMode]string{
		StopServers:  "ipvs delete server 10.9.1.1:80 of TCP 10.9.9.1:80",
		StopServices: "ipvs delete service TCP 10.9.9.1:80",
		StopNothing:  "",
	} {
		w := newWorld(t)
		vs := two()
		vs.Omega = true
		m := New(&Config{VirtualServers: []*VirtualServer{vs}, OnStop: mode}, w, random())
		m.Start(0)
		w.take()
		m.Stop(0)
		said := w.take()
		assert.Contains(t, said, "fifo VS [10.9.9.1]:tcp:80 DOWN", "omega")
		if want == "" {
			assert.Len(t, w.table[id], 2)
			continue
		}
		assert.Contains(t, said, want)
		assert.Empty(t, w.table)
		m.Stop(0)
		assert.Empty(t, w.take(), "stopped already")
	}
}

func TestErrorText(t *testing.T) {
	assert.Equal(t, "No such service(3)", errorText(ipvs.ErrNotFound, false))
	assert.Equal(t, "strange", errorText(errors.New("strange"), true))
}
