package node

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/control"
	"usvs/health"
	"usvs/ipvs"
	"usvs/keepalived"
	"usvs/vrrp"
	"usvs/wire"
)

type testClock struct{}

func (testClock) Now() clock.Instant { return 0 }

// noWorld is a World in which nothing happens.
type noWorld struct{}

func (noWorld) Configure(*Setup)                         {}
func (noWorld) SendVRRP(string, []byte, wire.MAC)        {}
func (noWorld) Announce(string, netip.Addr, wire.MAC)    {}
func (noWorld) AddAddress(Address)                       {}
func (noWorld) RemoveAddress(Address)                    {}
func (noWorld) StartProbe(health.CheckID, *health.Probe) {}
func (noWorld) CancelProbe(health.CheckID)               {}
func (noWorld) RunTrackScript(string)                    {}
func (noWorld) RunScript(Notification)                   {}
func (noWorld) WriteFIFO(string, string)                 {}
func (noWorld) SendMail(Mail)                            {}
func (noWorld) Log(vrrp.Level, string)                   {}

func parsed(t testing.TB, text string) *keepalived.Config {
	c, _ := keepalived.Parse("test.conf", keepalived.Options{Files: keepalived.Text{"test.conf": text}})
	return c
}

func newControl() *control.Control {
	return control.New(control.Config{Clock: testClock{}, Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry), Sysctls: ipvs.DefaultSysctls()})
}

func TestStart(t *testing.T) {
	ctl := newControl()
	n, err := New(Config{Keepalived: parsed(t, `
virtual_server 10.0.0.1 80 {
	lb_algo rr
	lb_kind DR
	protocol TCP
	real_server 10.0.0.2 80 {
		TCP_CHECK {
		}
	}
}`), Control: ctl, World: noWorld{}, Rand: rand.New(rand.NewPCG(1, 2))})
	require.NoError(t, err)
	n.Start(0)
	services, err := ctl.Services()
	require.NoError(t, err)
	require.Len(t, services, 1)
	n.Stop(0)
}
