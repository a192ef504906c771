package ipvsabi

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/control"
	"usvs/ipvs"
)

// control message for nlctrl
func ctrl(cmd uint8, flags uint16, attrs func(*writer)) []byte {
	var w writer
	at := w.generic(header{typeControl, flagRequest | flags, 7, 0}, cmd, 1)
	attrs(&w)
	w.end(at)
	return w
}

func TestHandled(t *testing.T) {
	named := func(name string) func(*writer) { return func(w *writer) { w.text(ctrlFamilyName, name) } }
	numbered := func(n uint16) func(*writer) { return func(w *writer) { w.u16(ctrlFamilyID, n) } }
	both := func(n uint16, name string) func(*writer) {
		return func(w *writer) { w.u16(ctrlFamilyID, n); w.text(ctrlFamilyName, name) }
	}
	none := func(*writer) {}
	flush := request(cmdFlush, flagAck, nil)
	var other, route writer
	other.end(other.generic(header{FamilyID + 1, flagRequest, 1, 0}, 1, 1))
	route.end(route.generic(header{typeControl - 1, flagRequest, 1, 0}, 1, 1))
	silent := request(cmdFlush, 0, nil)
	native.PutUint16(silent[6:], flagAck)
	for _, c := range []struct {
		name     string
		datagram []byte
		handled  bool
	}{
		{"IPVS by name", ctrl(ctrlGetFamily, flagAck, named("IPVS")), true},
		{"IPVS by number", ctrl(ctrlGetFamily, flagAck, numbered(FamilyID)), true},
		{"a name counts more than a number", ctrl(ctrlGetFamily, 0, both(16, "IPVS")), true},
		{"another name with our number", ctrl(ctrlGetFamily, 0, both(FamilyID, "nl80211")), false},
		{"names are whole", ctrl(ctrlGetFamily, 0, named("IPVS2")), false},
		{"names have a case", ctrl(ctrlGetFamily, 0, named("ipvs")), false},
		{"a name without end", ctrl(ctrlGetFamily, 0, func(w *writer) { w.bytes(ctrlFamilyName, []byte("IPVS")) }), false},
		{"a number that is cut", ctrl(ctrlGetFamily, 0, func(w *writer) { w.u8(ctrlFamilyID, 0x56) }), false},
		{"no attributes", ctrl(ctrlGetFamily, 0, none), false},
		{"all families", ctrl(ctrlGetFamily, flagDump, none), false},
		{"all families, naming ours", ctrl(ctrlGetFamily, flagDump, named("IPVS")), false},
		{"policies", ctrl(10, flagDump, named("IPVS")), false},
		{"nlctrl without a command", ctrl(ctrlGetFamily, 0, none)[:headerLen], false},
		{"a command of ours", flush, true},
		{"another family", other, false},
		{"netlink's own message", route, false},
		{"not a request", silent, false},
		{"ours beside what is not a request", slices.Concat(silent, flush, route), true},
		{"ours before another's", slices.Concat(flush, other), false},
		{"another's before ours", slices.Concat(other, flush), false},
		{"ours before another's that is cut off", slices.Concat(flush, other[:len(other)-1]), true},
		{"nothing", nil, false},
		{"less than a header", flush[:15], false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := new(fake)
			replies, handled := NewServer(b).Netlink(c.datagram, 42, true)
			require.Equal(t, c.handled, handled)
			if !handled {
				require.Empty(t, replies)
				require.Zero(t, b.changes)
			}
		})
	}
}

// Every error of the Backend arrives at every command as its number.
func TestBackendErrors(t *testing.T) {
	full := naming(web, "rr", 0, 0xffffffff)
	server := func(w *writer) {
		naming(web, "", 0, 0)(w)
		at := w.nest(attrDest)
		w.addr(destAddr, vip4)
		w.be16(destPort, 80)
		for _, typ := range []int{destMethod, destWeight, destUpper, destLower} {
			w.u32(typ, 0)
		}
		w.endNest(at)
	}
	daemon := func(w *writer) { w.daemon(&ipvs.Daemon{State: ipvs.DaemonMaster, Interface: "eth0"}) }
	requests := map[string][]byte{
		"new service":   request(cmdNewService, 0, full),
		"set service":   request(cmdSetService, 0, full),
		"del service":   request(cmdDelService, 0, full),
		"get service":   request(cmdGetService, 0, full),
		"list services": request(cmdGetService, flagDump, nil),
		"new server":    request(cmdNewDest, 0, server),
		"set server":    request(cmdSetDest, 0, server),
		"del server":    request(cmdDelDest, 0, server),
		"new daemon":    request(cmdNewDaemon, 0, daemon),
		"del daemon":    request(cmdDelDaemon, 0, daemon),
		"list daemons":  request(cmdGetDaemon, flagDump, nil),
		"set config":    request(cmdSetConfig, 0, nil),
		"get config":    request(cmdGetConfig, 0, nil),
		"get info":      request(cmdGetInfo, 0, nil),
		"zero all":      request(cmdZero, 0, nil),
		"zero one":      request(cmdZero, 0, full),
		"flush":         request(cmdFlush, 0, nil),
	}
	for name, req := range requests {
		for _, c := range backendErrors {
			replies, handled := NewServer(&fake{err: c.err}).Netlink(req, 42, true)
			require.True(t, handled)
			require.Len(t, replies, 1, name)
			require.Equal(t, c.errno, result(replies), "%s: %v", name, c.err)
		}
	}
	// A list of servers is empty if the service is not there, but not if it is
	// not known whether it is.
	list := request(cmdGetDest, flagDump, full)
	replies, _ := NewServer(&fake{err: ipvs.ErrNotFound}).Netlink(list, 42, true)
	require.Equal(t, uint16(typeDone), native.Uint16(replies[0][4:]))
	replies, _ = NewServer(&fake{err: errUnreachable}).Netlink(list, 42, true)
	require.Equal(t, ECONNREFUSED, result(replies))
}

// edited notices who reads a service while another is about to change it.
type edited struct {
	*control.Control
	reading, most atomic.Int32
}

func (e *edited) Service(id ipvs.ServiceID) (ipvs.ServiceEntry, error) {
	e.most.Store(max(e.most.Load(), e.reading.Add(1)))
	runtime.Gosched()
	return e.Control.Service(id)
}

func (e *edited) EditService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	runtime.Gosched()
	e.reading.Add(-1)
	return e.Control.EditService(id, spec)
}

// Programs that set different flags of one service at once all succeed.
func TestFlagsAreEditedInOneStep(t *testing.T) {
	c := &edited{Control: world()}
	s := NewServer(c)
	s.Netlink(request(cmdNewService, 0, naming(web, "sh", 0, 0)), 42, true)
	var wg sync.WaitGroup
	for _, bit := range []uint32{0x4, 0x8, 0x10, 0x20} {
		wg.Go(func() {
			for range 200 {
				s.Netlink(request(cmdSetService, 0, naming(web, "sh", 0, bit)), 42, true)
				s.Netlink(request(cmdSetService, 0, naming(web, "sh", bit, bit)), 42, true)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, c.most.Load())
	e, err := c.Control.Service(web)
	require.NoError(t, err)
	require.Equal(t, ipvs.ServiceFlags(0x3c)|ipvs.FlagHashed, e.Spec.Flags)
}

// Zeroing means one service or all, by either interface.
func TestZero(t *testing.T) {
	mark := ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Mark: 7}
	marked := make([]byte, serviceLen)
	marked[0], marked[12] = 6, 7
	f := new(fake)
	s := NewServer(f)
	s.Netlink(request(cmdZero, 0, nil), 42, true)
	s.Netlink(request(cmdZero, 0, naming(web, "", 0, 0)), 42, true)
	s.Netlink(request(cmdZero, 0, naming(mark, "", 0, 0)), 42, true)
	require.Zero(t, s.SetOption(setZero, make([]byte, serviceLen), true))
	require.Zero(t, s.SetOption(setZero, serviceRecord, true))
	require.Zero(t, s.SetOption(setZero, marked, true))
	require.Equal(t, []*ipvs.ServiceID{nil, &web, &mark, nil, &web, &mark}, f.zeroed)
}
