package api

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// requestOf is a batch in the form that encoding/json writes.
func requestOf(changes []ipvsadm.Change) *batchRequest {
	q := &batchRequest{[]batchChange{}}
	for _, c := range changes {
		out := batchChange{Action: c.Action, Service: serviceID(c.Service)}
		spec, server, serverSpec := serviceSpec(c.Spec), serverID(c.Server), toServerSpec(c.ServerSpec)
		switch c.Action {
		case ipvsadm.AddService, ipvsadm.EditService:
			out.Spec = &spec
		case ipvsadm.AddServer, ipvsadm.EditServer:
			out.Server, out.ServerSpec = &server, &serverSpec
		case ipvsadm.DeleteServer:
			out.Server = &server
		}
		q.Changes = append(q.Changes, out)
	}
	return q
}

// few returns 0, 1, the greatest value of T, or any.
func few[T integer](rng *rand.Rand, most uint64) T {
	return T([]uint64{0, 1, most, rng.Uint64N(most + 1)}[rng.IntN(4)])
}

var (
	someAddrs = []netip.Addr{
		{}, netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd00:9::1"), netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("fe80::1%eth0"),
		netip.MustParseAddr("fe80::1").WithZone("\"<\n"),
	}
	someNames = []string{"", "wlc", "a name", "\"", "\\n", "<&>", "\x00\xff", "Maglev \u00e9", strings.Repeat("x", 300)}
)

func someChange(rng *rand.Rand) ipvsadm.Change {
	addr := func() netip.Addr { return someAddrs[rng.IntN(len(someAddrs))] }
	name := func() string { return someNames[rng.IntN(len(someNames))] }
	return ipvsadm.Change{
		Action: ipvsadm.Action(rng.IntN(8)),
		Service: ipvs.ServiceID{
			Family: few[ipvs.Family](rng, maxUint8), Protocol: few[ipvs.Protocol](rng, maxUint8),
			Addr: addr(), Port: few[uint16](rng, maxUint16), Mark: few[uint32](rng, maxUint32),
		},
		Spec: ipvs.ServiceSpec{
			Scheduler: name(), Flags: few[ipvs.ServiceFlags](rng, maxUint32), Timeout: few[uint32](rng, maxUint32),
			Netmask: addr(), PrefixLen: few[uint8](rng, maxUint8), PE: name(),
		},
		Server: ipvs.ServerID{Addr: addr(), Port: few[uint16](rng, maxUint16)},
		ServerSpec: ipvs.ServerSpec{
			Method: few[ipvs.ForwardMethod](rng, maxUint8), Weight: few[int32](rng, maxUint32),
			UpperThreshold: few[uint32](rng, maxUint32), LowerThreshold: few[uint32](rng, maxUint32),
			Tunnel: ipvs.TunnelParams{Type: few[ipvs.TunnelType](rng, maxUint8), Port: few[uint16](rng, maxUint16), Flags: few[uint16](rng, maxUint16)},
		},
	}
}

// TestBatchText: batches are written as encoding/json writes them, and what is
// read by hand is what encoding/json reads.
func TestBatchText(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	byHand := 0
	for i := range 5000 {
		changes := make([]ipvsadm.Change, rng.IntN(4))
		for j := range changes {
			changes[j] = someChange(rng)
		}
		want, err := json.Marshal(requestOf(changes))
		require.NoError(t, err)
		body, n := appendBatch(nil, changes, 1<<20)
		require.Equal(t, len(changes), n)
		require.Equal(t, string(want), string(body), i)
		if checkParsed(t, body) {
			byHand++
		}
	}
	require.Greater(t, byHand, 500)
}

// checkParsed reads a body by hand, and if that goes, compares.
func checkParsed(t *testing.T, body []byte) bool {
	got, ok := parseBatch(body)
	if !ok {
		return false
	}
	var q batchRequest
	require.NoError(t, json.Unmarshal(body, &q), "%q", body)
	require.Len(t, got, len(q.Changes))
	for i := range got {
		require.Equal(t, q.Changes[i].change(), got[i], "%q", body)
	}
	return true
}

// TestBatchTextByHand: what ipvsadm sends is read by hand.
func TestBatchTextByHand(t *testing.T) {
	for _, c := range []ipvsadm.Change{
		{Action: ipvsadm.AddService, Service: theService.ID, Spec: theService.Spec},
		{Action: ipvsadm.EditService, Service: theMark, Spec: ipvs.ServiceSpec{Scheduler: "mh", Flags: 3, Timeout: 9, PrefixLen: 64, PE: "sip"}},
		{Action: ipvsadm.DeleteService, Service: theService.ID},
		{Action: ipvsadm.AddServer, Service: theService.ID, Server: theService.Servers[0].ID, ServerSpec: theService.Servers[0].Spec},
		{Action: ipvsadm.DeleteServer, Service: theMark, Server: theService.Servers[0].ID},
	} {
		body, _ := appendBatch(nil, []ipvsadm.Change{c, c}, 1<<20)
		require.True(t, checkParsed(t, append(body, '\n')), "%s", body)
	}
}

// TestBatchTextIsStrict: what appendBatch does not write is left to
// encoding/json, which refuses some of it.
func TestBatchTextIsStrict(t *testing.T) {
	good := `{"changes":[{"action":3,"service":{"family":4,"protocol":6,"address":"10.0.0.1","port":80}}]}`
	_, ok := parseBatch([]byte(good))
	require.True(t, ok)
	for _, change := range [][2]string{
		{`80`, `080`}, {`80`, `65536`}, {`80`, `-1`}, {`80`, `8e1`}, {`80`, ``}, {`80`, `"80"`}, {`80`, `12345678901`},
		{`10.0.0.1`, `10.0.0.256`}, {`10.0.0.1`, `10.0.0.1\u0000`}, {`"port"`, `"Port"`}, {`3`, ` 3`}, {`}]}`, `}]`}, {`}]}`, `},]}`},
		{`}]}`, `}]}x`}, {`}]}`, `}]} {}`}, {`{"changes"`, `["changes"`}, {`"port":80`, `"port":80,"port":81`}, {`4,`, `4,"x":1,`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		require.NotEqual(t, good, bad)
		_, ok := parseBatch([]byte(bad))
		require.False(t, ok, bad)
	}
	for i := range good {
		_, ok := parseBatch([]byte(good[:i]))
		require.False(t, ok, good[:i])
	}
}

// TestBatchTextBounded: a batch that is too long for a body is cut into several.
func TestBatchTextBounded(t *testing.T) {
	changes := make([]ipvsadm.Change, 100)
	for i := range changes {
		changes[i] = ipvsadm.Change{Action: ipvsadm.DeleteService, Service: theService.ID}
	}
	whole, _ := appendBatch(nil, changes, 1<<20)
	body, n := appendBatch(nil, changes, len(whole))
	require.Equal(t, 100, n)
	require.Equal(t, whole, body)
	for size := 0; size < len(whole); size += 97 {
		body, n := appendBatch(nil, changes, size)
		require.True(t, n == 1 || len(body) <= size)
		require.GreaterOrEqual(t, n, 1)
		require.True(t, checkParsed(t, body))
	}
}

// TestLongBatch: batches of any length arrive whole and in order.
func TestLongBatch(t *testing.T) {
	far := new(fake)
	c := serve(t, far, Handlers{})
	changes := make([]ipvsadm.Change, 9000)
	for i := range changes {
		changes[i] = ipvsadm.Change{Action: ipvsadm.AddService, Service: theService.ID, Spec: ipvs.ServiceSpec{Scheduler: fmt.Sprint(i)}}
	}
	require.Len(t, c.Begin(changes)(), len(changes))
	require.Len(t, far.calls, len(changes))
	for i, call := range far.calls {
		require.Contains(t, call, fmt.Sprint(i))
	}
}

// TestOtherBatchText: a batch may be written in any way that JSON knows.
func TestOtherBatchText(t *testing.T) {
	f := new(fake)
	w := ask(newHandler(f, Handlers{}), "POST batch", ` { "changes" : [ { "service":{"port":80, "family":4}, "action" : 3 } ] } `)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Len(t, f.calls, 1)
}

func FuzzBatchText(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		body, _ := appendBatch(nil, []ipvsadm.Change{someChange(rng), someChange(rng)}, 1<<20)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkParsed(t, body) })
}
