package health

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

// reloaded has one virtual server run for 3 s, in which 10.9.1.2 is found to be
// down, and then another take its place. It returns what the reload did.
func reloaded(t *testing.T, old, next *VirtualServer) (*lab, []string) {
	t.Helper()
	l := newLab(t, &Config{RouterID: "lvs1", VirtualServers: []*VirtualServer{old}})
	l.does["10.9.1.2:80"] = "failed"
	l.m.Start(0)
	l.run(3.5)
	l.take()
	l.m.Reload(l.now, &Config{RouterID: "lvs1", VirtualServers: []*VirtualServer{next}})
	var did []string
	for _, line := range l.take() {
		_, what, _ := strings.Cut(line, " ")
		if !strings.Contains(what, "ing healthchecker") {
			did = append(did, what)
		}
	}
	return l, did
}

func two() *VirtualServer {
	return virtual([]Service{serviceOf(tcp, "10.9.9.1", 80)}, 1,
		realAt("10.9.1.1:80", 1, checkOf(TCP, 1, half)), realAt("10.9.1.2:80", 1, checkOf(TCP, 1, half)))
}

func with(vs *VirtualServer, change func(*VirtualServer)) *VirtualServer {
	change(vs)
	return vs
}

// TestReload: what differs, and everything that is done about it. The words and
// their order are those of keepalived 2.2.7.
func TestReload(t *testing.T) {
	group := func(addrs ...string) *VirtualServer {
		vs := two()
		vs.Group, vs.Services = "G", nil
		for _, a := range addrs {
			vs.Services = append(vs.Services, serviceOf(tcp, a, 80))
		}
		return vs
	}
	sorry := func(at string, quorum int) *VirtualServer {
		vs := two()
		vs.Sorry, vs.Quorum = sorryAt(at), quorum
		return vs
	}
	for _, c := range []struct {
		what      string
		old, next *VirtualServer
		want      []string
	}{
		{"nothing", two(), two(), nil},
		{"timing", two(), with(two(), func(vs *VirtualServer) {
			for _, rs := range vs.Servers {
				rs.Checks[0].DelayLoop, rs.Checks[0].Retry, rs.Checks[0].Probe.Timeout = time.Minute, 7, time.Minute
			}
		}), nil},
		{"weights", two(), with(two(), func(vs *VirtualServer) { vs.Servers[0].Spec.Weight, vs.Servers[1].Spec.Weight = 3, 5 }), []string{
			"log Changing weight from 1 to 3 for active service [10.9.1.1]:tcp:80 of VS [10.9.9.1]:tcp:80",
			"ipvs edit server 10.9.1.1:80 of TCP 10.9.9.1:80 w=3",
			"log Changing weight from 1 to 5 for inactive service [10.9.1.2]:tcp:80 of VS [10.9.9.1]:tcp:80",
		}},
		{"method", two(), with(two(), func(vs *VirtualServer) { vs.Servers[0].Spec.Method = ipvs.DirectRoute }), []string{
			"ipvs edit server 10.9.1.1:80 of TCP 10.9.9.1:80 w=1",
		}},
		{"scheduler", two(), with(two(), func(vs *VirtualServer) { vs.Services[0].Spec.Scheduler = "wrr" }), []string{
			"ipvs edit service TCP 10.9.9.1:80 wrr",
		}},
		{"a server comes and the one that is up goes", two(), with(two(), func(vs *VirtualServer) {
			vs.Servers[0] = realAt("10.9.1.3:80", 1, checkOf(TCP, 1, half))
		}), []string{
			"log service [10.9.1.1]:tcp:80 no longer exist",
			"log Removing service [10.9.1.1]:tcp:80 from VS [10.9.9.1]:tcp:80",
			"ipvs delete server 10.9.1.1:80 of TCP 10.9.9.1:80",
			"mail [lvs1] Realserver [10.9.1.1]:tcp:80 of virtual server [10.9.9.1]:tcp:80 - DOWN: => Removing <=",
			"ipvs add server 10.9.1.3:80 of TCP 10.9.9.1:80 w=1",
		}},
		{"the server that is down goes", two(), with(two(), func(vs *VirtualServer) { vs.Servers = vs.Servers[:1] }), []string{
			"log service [10.9.1.2]:tcp:80 no longer exist",
		}},
		{"another check gives the server a new chance", two(), with(two(), func(vs *VirtualServer) {
			vs.Servers[1].Checks[0].to("10.9.1.2:99")
		}), []string{
			"log Adding service [10.9.1.2]:tcp:80 to VS [10.9.9.1]:tcp:80",
			"ipvs add server 10.9.1.2:80 of TCP 10.9.9.1:80 w=1",
			"fifo RS [10.9.1.2]:tcp:80 [10.9.9.1]:tcp:80 UP",
		}},
		{"inhibit_on_failure", two(), with(two(), func(vs *VirtualServer) { inhibited(vs.Servers[1]) }), []string{
			"ipvs add server 10.9.1.2:80 of TCP 10.9.9.1:80 w=0",
		}},
		{"a quorum that is not reached", two(), with(two(), func(vs *VirtualServer) { vs.Quorum, vs.SMTPAlert = 2, true }), []string{
			"log Starting with quorum down 2-0=2 > 1 for VS [10.9.9.1]:tcp:80",
			"fifo VS [10.9.9.1]:tcp:80 DOWN",
			"mail [lvs1] Virtualserver [10.9.9.1]:tcp:80 - DOWN: => Starting with quorum down 2+0=2 <= 1 <=",
		}},
		{"a quorum that is reached", sorry("10.9.1.8:80", 2), sorry("10.9.1.8:80", 1), []string{
			"log Gained quorum 1+0=1 <= 1 for VS [10.9.9.1]:tcp:80",
			"log Removing sorry server [10.9.1.8]:tcp:80 from VS [10.9.9.1]:tcp:80",
			"ipvs delete server 10.9.1.8:80 of TCP 10.9.9.1:80",
			"log Adding alive servers to the pool for VS [10.9.9.1]:tcp:80",
			"ipvs add server 10.9.1.1:80 of TCP 10.9.9.1:80 w=1",
			"fifo VS [10.9.9.1]:tcp:80 UP",
		}},
		{"another sorry server stands in", sorry("10.9.1.8:80", 2), sorry("10.9.1.9:80", 2), []string{
			"log Removing sorry server [10.9.1.8]:tcp:80 from VS [10.9.9.1]:tcp:80",
			"ipvs delete server 10.9.1.8:80 of TCP 10.9.9.1:80",
			"log Adding sorry server [10.9.1.9]:tcp:80 to VS [10.9.9.1]:tcp:80",
			"ipvs add server 10.9.1.9:80 of TCP 10.9.9.1:80 w=1",
		}},
		{"the sorry server goes", sorry("10.9.1.8:80", 2), with(two(), func(vs *VirtualServer) { vs.Quorum = 2 }), []string{
			"log Removing sorry server [10.9.1.8]:tcp:80 from VS [10.9.9.1]:tcp:80",
			"ipvs delete server 10.9.1.8:80 of TCP 10.9.9.1:80",
			"ipvs add server 10.9.1.1:80 of TCP 10.9.9.1:80 w=1",
		}},
		{"the sorry server goes that was not needed", sorry("10.9.1.8:80", 1), sorry("10.9.1.9:80", 1), nil},
		{"a virtual server goes in omega mode", with(two(), func(vs *VirtualServer) { vs.Omega, vs.SMTPAlert = true, true }), group("10.9.9.2"), []string{
			"log Removing Virtual Server [10.9.9.1]:tcp:80",
			"log Removing service [10.9.1.1]:tcp:80 from VS [10.9.9.1]:tcp:80",
			"ipvs delete server 10.9.1.1:80 of TCP 10.9.9.1:80",
			"fifo RS [10.9.1.1]:tcp:80 [10.9.9.1]:tcp:80 DOWN",
			"mail [lvs1] Realserver [10.9.1.1]:tcp:80 of virtual server [10.9.9.1]:tcp:80 - DOWN: => Removing <=",
			"log Removing service [10.9.1.2]:tcp:80 from VS [10.9.9.1]:tcp:80",
			"fifo VS [10.9.9.1]:tcp:80 DOWN",
			"mail [lvs1] Virtualserver [10.9.9.1]:tcp:80 - DOWN: => Lost quorum 1+0=1 <= 0 <=",
			"ipvs delete service TCP 10.9.9.1:80",
			"ipvs add service TCP 10.9.9.2:80",
			"ipvs add server 10.9.1.1:80 of TCP 10.9.9.2:80 w=1",
			"ipvs add server 10.9.1.2:80 of TCP 10.9.9.2:80 w=1",
			"log Gained quorum 1+0=1 <= 2 for VS [G]:0",
			"fifo VS [G]:0 UP",
		}},
		{"the group changes", group("10.9.9.1", "10.9.9.2"), group("10.9.9.3", "10.9.9.2"), []string{
			"ipvs delete server 10.9.1.1:80 of TCP 10.9.9.1:80",
			"log VS [[10.9.9.1]:tcp:80] in group G no longer exists",
			"ipvs delete service TCP 10.9.9.1:80",
			"ipvs add service TCP 10.9.9.3:80",
			"log VS [[10.9.9.3]:tcp:80] added into group G",
			"ipvs add server 10.9.1.1:80 of TCP 10.9.9.3:80 w=1",
		}},
		{"another virtual server", two(), with(two(), func(vs *VirtualServer) { vs.Services[0].ID.Port = 81 }), []string{
			"log Removing Virtual Server [10.9.9.1]:tcp:80",
			"log Removing service [10.9.1.1]:tcp:80 from VS [10.9.9.1]:tcp:80",
			"ipvs delete server 10.9.1.1:80 of TCP 10.9.9.1:80",
			"mail [lvs1] Realserver [10.9.1.1]:tcp:80 of virtual server [10.9.9.1]:tcp:80 - DOWN: => Removing <=",
			"log Removing service [10.9.1.2]:tcp:80 from VS [10.9.9.1]:tcp:80",
			"ipvs delete service TCP 10.9.9.1:80",
			"ipvs add service TCP 10.9.9.1:81",
			"ipvs add server 10.9.1.1:80 of TCP 10.9.9.1:81 w=1",
			"ipvs add server 10.9.1.2:80 of TCP 10.9.9.1:81 w=1",
			"log Gained quorum 1+0=1 <= 2 for VS [10.9.9.1]:tcp:81",
			"fifo VS [10.9.9.1]:tcp:81 UP",
		}},
		{"new servers in alpha mode wait", two(), alpha(with(two(), func(vs *VirtualServer) {
			vs.Servers = append(vs.Servers, realAt("10.9.1.3:80", 1, checkOf(TCP, 1, half)))
		})), nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, did := reloaded(t, c.old, c.next)
			assert.Equal(t, c.want, did)
		})
	}
}

// TestReloadBeginsAnew: all checks run again after a fresh warmup, with what they
// know.
func TestReloadBeginsAnew(t *testing.T) {
	l, _ := reloaded(t, two(), with(two(), func(vs *VirtualServer) {
		vs.Servers = append(vs.Servers, realAt("10.9.1.3:80", 1, checkOf(TCP, 1, half)))
	}))
	require.Len(t, l.m.queue, 3)
	for _, c := range l.m.queue {
		assert.Equal(t, clock.Instant(4500*time.Millisecond), c.due)
	}
	servers := l.m.Status().Services[0].Servers
	assert.True(t, servers[0].Up)
	assert.False(t, servers[1].Up)
	assert.EqualValues(t, 2, servers[1].Checks[0].Attempts)

	// One failure is not enough for the new server, unlike at the start.
	l.does["10.9.1.3:80"] = "failed"
	l.run(6)
	assert.Contains(t, l.take(), "5.002 log TCP_CHECK on service [10.9.1.3]:tcp:80 failed after 1 retries.")
}

// TestReloadMovesAddress: an address goes from a virtual server to a group.
func TestReloadMovesAddress(t *testing.T) {
	next := two()
	next.Group = "G"
	l, did := reloaded(t, two(), next)
	deleted, added := -1, -1
	for i, what := range did {
		switch what {
		case "ipvs delete service TCP 10.9.9.1:80":
			deleted = i
		case "ipvs add service TCP 10.9.9.1:80":
			added = i
		}
	}
	require.NotEqual(t, -1, deleted)
	assert.Less(t, deleted, added)
	assert.Len(t, l.table, 1)
}

// TestReloadOfMarksOfBothFamilies: a group that two virtual servers are for is no
// reason to begin anew, in whatever order they come.
func TestReloadOfMarksOfBothFamilies(t *testing.T) {
	marks := func(family ipvs.Family, server string) *VirtualServer {
		vs := virtual([]Service{{ID: ipvs.ServiceID{Family: family, Mark: 7}, Spec: ipvs.ServiceSpec{Scheduler: "rr"}}}, 1,
			realAt(server, 1, checkOf(TCP, 1, half)))
		vs.Group, vs.Protocol = "G", 0
		return vs
	}
	four, six := marks(ipvs.IPv4, "10.9.1.1:80"), marks(ipvs.IPv6, "[2001:db8::1]:80")
	l := newLab(t, &Config{VirtualServers: []*VirtualServer{four, six}})
	l.m.Start(0)
	l.run(3)
	l.take()
	for _, next := range [][]*VirtualServer{{four, six}, {six, four}, {six, four}} {
		l.m.Reload(l.now, &Config{VirtualServers: next})
		for _, line := range l.take() {
			assert.NotContains(t, line, "ipvs")
			assert.NotContains(t, line, "Removing")
		}
	}
	l.m.Reload(l.now, &Config{VirtualServers: []*VirtualServer{four}})
	assert.Contains(t, strings.Join(l.take(), "\n"), "ipvs delete service FWM 7", "IPv6's")
}

// TestReloadOfSameValue: a virtual server that both configurations have is
// treated like an equal one, while it is up, down, and has attempts running.
func TestReloadOfSameValue(t *testing.T) {
	site := func() *VirtualServer {
		vs := two()
		vs.Sorry, vs.Quorum = sorryAt("10.9.1.8:80"), 2
		inhibited(vs.Servers[1])
		return vs
	}
	other := func(weight int32) *VirtualServer {
		return virtual([]Service{serviceOf(tcp, "10.9.9.2", 80)}, 1, realAt("10.9.2.1:80", weight, checkOf(TCP, 1, half)))
	}
	for _, at := range []float64{0, 0.7, 1.2, 1.6, 2.001, 3.5, 7} {
		var logs [2][]string
		var status [2]Status
		for i, same := range []bool{true, false} {
			first := site()
			l := newLab(t, &Config{RouterID: "lvs1", VirtualServers: []*VirtualServer{first, other(1)}})
			l.does["10.9.1.2:80"] = "failed"
			l.m.Start(0)
			l.run(at)
			for weight := range int32(3) {
				next := first
				if !same {
					next = site()
				}
				l.m.Reload(l.now, &Config{RouterID: "lvs1", VirtualServers: []*VirtualServer{next, other(weight)}})
				l.run(at + 2*float64(weight+1))
			}
			logs[i], status[i] = l.take(), l.m.Status()
		}
		require.Equal(t, logs[1], logs[0], "reloaded after %v s", at)
		require.Equal(t, status[1], status[0])
	}
}
