package localstack

import (
	"bufio"
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

const now = clock.Instant(1e9)

var dirMAC = wire.MAC{2, 0, 0, 0, 0, 1}

// exchange is a frame of a recording and what answered it.
type exchange struct {
	name    string
	in, out []byte
}

// readTrace reads "# name" or "error ..." lines, each followed by a ">" and
// perhaps a "<" line.
func readTrace(t testing.TB, file, prefix string) (list []exchange) {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	name := ""
	for in.Scan() {
		kind, rest, _ := strings.Cut(in.Text(), " ")
		switch kind {
		case prefix:
			name = rest
		case ">":
			b, err := hex.DecodeString(rest)
			require.NoError(t, err)
			list = append(list, exchange{name: name, in: b})
		case "<":
			b, err := hex.DecodeString(rest)
			require.NoError(t, err)
			list[len(list)-1].out = b
		}
	}
	require.NoError(t, in.Err())
	require.NotEmpty(t, list)
	return list
}

// mask clears what a host chooses freely: IPv4 ID and with it the header
// checksum (which must have been right), and the IPv6 flow label.
func mask(t testing.TB, b []byte) []byte {
	if b == nil {
		return nil
	}
	b = append([]byte(nil), b...)
	switch wire.EthernetHeader(b).Type() {
	case wire.TypeIPv4:
		ip := wire.IPv4(b[14:])
		require.True(t, ip.HeaderChecksumOK())
		ip.SetID(0)
		ip.SetChecksum(0)
	case wire.TypeIPv6:
		ip := wire.IPv6(b[14:])
		ip.SetFlow(ip.TrafficClass(), 0)
	}
	return b
}

func request(t testing.TB, raw []byte) Request {
	f := wire.NewFrame(len(raw))
	f.SetBytes(raw)
	p := new(wire.Packet)
	require.Equal(t, wire.None, p.Parse(f.Bytes(), wire.Ethernet))
	return Request{Frame: f, Packet: p, MAC: dirMAC}
}

// TestAnswersAsLinux compares Answer, and Error for what a router drops, with
// a recorded host.
func TestAnswersAsLinux(t *testing.T) {
	different := map[string]Outcome{ // see doc.go
		"echo rr":            EchoReplied,
		"timestamp":          Silent,
		"hop1 fwd6 redirect": Ineligible,
	}
	for _, x := range readTrace(t, "testdata/linux.trace", "#") {
		t.Run(x.name, func(t *testing.T) {
			s, f := New(Options{}), wire.NewFrame(2000)
			r := request(t, x.in)
			var o Outcome
			if strings.Contains(x.name, "fwd") {
				src := r.Packet.Dst
				if x.out != nil {
					src = source(x.out)
				}
				o = s.Error(now, r, src, TimeExceeded(), f)
			} else {
				o = s.Answer(now, r, f)
			}
			if want, ok := different[x.name]; ok {
				require.Equal(t, want, o)
				return
			}
			require.Equal(t, x.out != nil, o.Answered(), o)
			if o.Answered() {
				require.Equal(t, mask(t, x.out), mask(t, f.Bytes()))
			}
			require.EqualValues(t, 1, s.Count(o))
		})
	}
}

// TestErrorsAsIPVS compares the errors about forwarded packets.
func TestErrorsAsIPVS(t *testing.T) {
	kinds := map[string]func(mtu int) Error{
		"time-exceeded":    func(int) Error { return TimeExceeded() },
		"port-unreachable": func(int) Error { return PortUnreachable() },
		"frag-needed":      FragNeeded,
	}
	for _, x := range readTrace(t, "testdata/ipvs.trace", "error") {
		t.Run(x.name, func(t *testing.T) {
			words := strings.Fields(x.name)
			mtu := 0
			for _, w := range words[1:] {
				if n, ok := strings.CutPrefix(w, "mtu="); ok {
					mtu, _ = strconv.Atoi(n)
				}
				if w == "decremented" {
					decrementTTL(x.in[14:])
				}
			}
			// The recorded director routes the error, we return it to the
			// frame's sender: make the two the same.
			wire.EthernetHeader(x.in).SetSrc(wire.EthernetHeader(x.out).Dst())
			r := request(t, x.in)
			r.MAC = wire.EthernetHeader(x.out).Src()
			f := wire.NewFrame(2000)
			o := New(Options{}).Error(now, r, source(x.out), kinds[words[0]](mtu), f)
			require.Equal(t, ErrorSent, o)
			require.Equal(t, mask(t, x.out), mask(t, f.Bytes()))
		})
	}
}

// source is the IP source of an Ethernet frame.
func source(b []byte) netip.Addr {
	if wire.EthernetHeader(b).Type() == wire.TypeIPv6 {
		return wire.IPv6(b[14:]).Src()
	}
	return wire.IPv4(b[14:]).Src()
}

func decrementTTL(b []byte) {
	if b[0]>>4 == 6 {
		b[7]--
		return
	}
	b[8]--
	wire.IPv4(b).UpdateChecksum()
}
