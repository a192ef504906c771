package integration

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/link/netnstest"
	"usvs/wire"
)

// What happens to interfaces interrupts traffic, and no more.
func TestLinkChanges(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl")
	eachBackend(t, packetBackends, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		for _, rs := range s.servers {
			startNginx(t, rs, 80)
		}
		s.realServersUp(vip4, "dr")
		d := startDirector(t, s.director, "-i eth0")
		bulkModes[0].service(d, 80, "-s rr")
		resumes := func(t *testing.T) {
			t.Helper()
			eventually(t, "traffic resumes", func() bool {
				_, err := s.client.Try("curl", "--silent", "--fail", "--connect-timeout", "1", "--noproxy", "*", "http://"+vip4+"/")
				return err == nil
			})
			// A SYN that waited all the time for its way may take a turn.
			for server, n := range shares(browse(t, s.client, vip4, 8)) {
				assert.InDelta(t, 4, n, 1, server)
			}
			assert.False(t, d.ended())
		}
		resumes(t)

		t.Run("Down and up", func(t *testing.T) {
			for range 3 {
				s.director.SetDown("eth0")
				assertNobody(t, s.client, vip4)
				s.director.SetUp("eth0")
				resumes(t)
			}
		})
		t.Run("MTU", func(t *testing.T) {
			for _, mtu := range []int{1400, 9000, 1500} {
				s.director.SetMTU("eth0", mtu)
				resumes(t)
			}
		})
		t.Run("MAC", func(t *testing.T) {
			for i := range byte(3) {
				s.director.SetMAC("eth0", wire.MAC{2, 0, 0, 0, 0, 10 + i})
				resumes(t)
				awaitOneAnswer(t, s.client, vip4, s.director)
			}
		})
		t.Run("Addresses", func(t *testing.T) {
			s.director.Run("ip", "addr", "flush", "dev", "eth0")
			s.director.AddAddr("eth0", "10.10.100.9/24")
			resumes(t)
		})
		t.Run("Deleted and made anew", func(t *testing.T) {
			for range 3 {
				s.director.Delete("eth0")
				usvs(t, s.director, "status")
				s.plugIn(s.director, "eth0", "lan0", "10.10.100.1/24")
				resumes(t)
				awaitOneAnswer(t, s.client, vip4, s.director)
			}
		})
	})
}

// The end comes when asked for, also with connections under way.
func TestStop(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		for _, rs := range s.servers {
			startEcho(t, rs, ":7")
		}
		s.realServersUp(vip4, "dr")
		commands := []string{"-A -t 10.10.100.107:7 -s rr", "-a -t 10.10.100.107:7 -r 10.10.100.111 -g"}
		d := startDirector(t, s.director, "-i eth0")
		d.ipvsadm(commands...)
		k := startTalk(t, s.client, vip4+":7")
		trace := s.director.Start(program(), "trace")
		for range 10 {
			k.assertWorks()
		}
		d.stop() // fails unless it ends by itself within netnstest's grace
		assert.True(t, d.logged("stopping"))
		<-trace.Done()

		// The next one knows nothing of the connection: as with the kernel's
		// module loaded anew, its packets are refused.
		d = startDirector(t, s.director, "-i eth0")
		d.ipvsadm(commands...)
		startTalk(t, s.client, vip4+":7").assertWorks()
	})
}
