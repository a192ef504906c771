package api

import (
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

func someConnection(rng *rand.Rand) ipvs.ConnEntry {
	end := func() netip.AddrPort {
		return netip.AddrPortFrom(someAddrs[rng.IntN(len(someAddrs))], few[uint16](rng, maxUint16))
	}
	name := func() string { return someNames[rng.IntN(len(someNames))] }
	return ipvs.ConnEntry{
		Protocol: few[ipvs.Protocol](rng, maxUint8), Client: end(), Virtual: end(), Real: end(), State: name(),
		Expires: []int64{0, 1, -1, 300, math.MaxInt64, math.MinInt64}[rng.IntN(6)], PEName: name(), PEData: name(),
		Template: rng.IntN(2) == 0, Synced: rng.IntN(2) == 0, Method: few[ipvs.ForwardMethod](rng, maxUint8),
		InPackets: []uint64{0, 1, math.MaxUint32, math.MaxUint64}[rng.IntN(4)],
	}
}

// TestConnectionText: a connection is written as encoding/json writes it, and
// read as it would be.
func TestConnectionText(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	byHand := 0
	for range 5000 {
		c := someConnection(rng)
		value, err := json.Marshal(connection(c))
		require.NoError(t, err)
		want, err := json.Marshal(streamLine{Value: value})
		require.NoError(t, err)
		line := appendConnection(nil, &c)
		require.Equal(t, string(want)+"\n", string(line))
		if checkConnection(t, line[:len(line)-1]) {
			byHand++
		}
	}
	require.Greater(t, byHand, 50)
	line := appendConnection(nil, &ipvs.ConnEntry{
		Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("[fd00::7]:40000"), Virtual: netip.MustParseAddrPort("10.9.0.1:80"),
		Real: netip.MustParseAddrPort("10.1.0.11:80"), State: "ESTABLISHED", Expires: 899, Method: ipvs.DirectRoute, InPackets: 7,
		PEName: "sip", PEData: "42@host", Template: true, Synced: true,
	})
	require.True(t, checkConnection(t, line[:len(line)-1]), "what there is commonly")
	for i := range len(line) - 1 {
		require.False(t, parseConnection(line[:i], new(ipvs.ConnEntry)))
	}
}

// checkConnection reads a line by hand, and if that goes, compares.
func checkConnection(t *testing.T, line []byte) bool {
	got := ipvs.ConnEntry{State: "NONE", PEName: "left", PEData: "over"}
	if !parseConnection(line, &got) {
		return false
	}
	var l streamLine
	var want connection
	require.NoError(t, json.Unmarshal(line, &l), "%q", line)
	require.NoError(t, json.Unmarshal(l.Value, &want), "%q", line)
	require.Equal(t, ipvs.ConnEntry(want), got, "%q", line)
	return true
}

// TestConnectionsOfAnyText: what is written otherwise is read, too, and what is
// wrong is told.
func TestConnectionsOfAnyText(t *testing.T) {
	good := `{ "value": {"state":"NONE", "protocol":6} }` + "\n"
	for text, want := range map[string]string{
		good + good + `{"end":true}`:                         "",
		good + `{"error":{"code":"failed","message":"why"}}`: "why",
		good:                       "cut short",
		good + `{"end":tr`:         "cut short",
		good + "{}":                "cut short",
		"":                         "cut short",
		`{"value":[]}`:             "cannot unmarshal",
		strings.Repeat("x", 2<<20): "too long",
	} {
		n := 0
		err := readConnections(strings.NewReader(text), func(e *ipvs.ConnEntry) bool {
			require.Equal(t, ipvs.ConnEntry{Protocol: 6, State: "NONE"}, *e)
			n++
			return true
		})
		require.Equal(t, strings.Count(text, "value")-strings.Count(text, "[]"), n)
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
	n := 0
	require.NoError(t, readConnections(strings.NewReader(good+good), func(*ipvs.ConnEntry) bool { n++; return false }))
	require.Equal(t, 1, n, "enough")
}

func FuzzConnectionText(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		c := someConnection(rng)
		f.Add(appendConnection(nil, &c))
	}
	f.Fuzz(func(t *testing.T, line []byte) { checkConnection(t, line) })
}

// BenchmarkConnections is a connection's way through a stream.
func BenchmarkConnections(b *testing.B) {
	c := ipvs.ConnEntry{
		Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("198.51.100.7:40000"), Virtual: netip.MustParseAddrPort("10.9.0.1:80"),
		Real: netip.MustParseAddrPort("10.1.0.11:80"), State: "ESTABLISHED", Expires: 899, Method: ipvs.DirectRoute, InPackets: 7,
	}
	b.Run("written", func(b *testing.B) {
		b.ReportAllocs()
		f := &manyConnections{entry: c, n: b.N}
		require.NoError(b, listConnections(f, io.Discard))
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		r, w := io.Pipe()
		go func() {
			_ = listConnections(&manyConnections{entry: c, n: b.N}, w)
			_, _ = io.WriteString(w, `{"end":true}`)
			w.Close()
		}()
		require.NoError(b, readConnections(r, func(*ipvs.ConnEntry) bool { return true }))
	})
}

// manyConnections is a backend with n connections alike.
type manyConnections struct {
	fake
	entry ipvs.ConnEntry
	n     int
}

func (m *manyConnections) Connections(yield func(*ipvs.ConnEntry) bool) error {
	for range m.n {
		if !yield(&m.entry) {
			break
		}
	}
	return nil
}
