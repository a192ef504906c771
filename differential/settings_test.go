package differential

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// parsedLine takes a line of a raw frame apart.
func parsedLine(t *testing.T, line string) wire.Packet {
	t.Helper()
	words := strings.Fields(line)
	require.Len(t, words, 3, line)
	frame, err := hex.DecodeString(words[2])
	require.NoError(t, err)
	var p wire.Packet
	require.Equal(t, wire.None, p.Parse(frame, wire.Ethernet))
	return p
}

func requireChecksum(t *testing.T, p *wire.Packet) {
	t.Helper()
	require.EqualValues(t, 0xffff, wire.Fold(wire.Sum(p.Transport(), wire.PseudoSum(p.Src, p.Dst, p.Proto, len(p.Transport())))))
}

func TestSays(t *testing.T) {
	for _, macro := range []string{
		"tcp PA 198.51.100.1:1000 10.9.0.1:21 seq=7 ack=9", "udp 198.51.100.1:1000 10.9.0.1:5060",
		"tcp s A [fd00:2::11]:21 [2001:db8::1]:1000", "udp s [fd00:2::11]:5060 [2001:db8::1]:1000",
	} {
		for _, text := range []string{"", "x", "PASV\r\n"} {
			d := &draft{}
			link := "c"
			if strings.Contains(macro, " s ") {
				link = "s"
			}
			d.says(link, macro, text)
			require.Len(t, d.lines, 1)
			require.True(t, strings.HasPrefix(d.lines[0], "> "+link+" "))
			p := parsedLine(t, d.lines[0])
			require.True(t, strings.HasSuffix(string(p.Transport()), text))
			requireChecksum(t, &p)
		}
	}
}

// TestFTPMakesSense: the two ends of a control connection see consistent
// sequence numbers, the client after what a 227 was made longer by.
func TestFTPMakesSense(t *testing.T) {
	for seed := range uint64(20) {
		l := &lab{draft: &draft{Rand: rand.New(rand.NewPCG(seed, 1))}}
		ftp(l)
		next := map[netip.AddrPort]uint32{} // of each client
		for _, line := range l.lines {
			if !strings.HasPrefix(line, "> c ") {
				continue
			}
			p := parsedLine(t, line)
			requireChecksum(t, &p)
			client, h := netip.AddrPortFrom(p.Src, p.SrcPort), wire.TCP(p.Transport())
			payload := uint32(len(p.Transport()) - h.HeaderLen())
			if want, ok := next[client]; ok {
				require.Equal(t, want, h.Seq(), line)
			}
			next[client] = h.Seq() + payload
			if h.Flags()&wire.FlagSYN != 0 {
				next[client]++
			}
		}
		require.NotEmpty(t, next)
	}
}

func TestCallsNameTheirCall(t *testing.T) {
	l := &lab{draft: &draft{Rand: rand.New(rand.NewPCG(1, 1))}}
	forms := map[string]bool{}
	for range 300 {
		text := l.sipMessage()
		require.True(t, strings.HasSuffix(text, "\r\n\r\n"))
		require.NotContains(t, text, "%")
		name, _, _ := strings.Cut(strings.Split(text, "\r\n")[2], ":")
		forms[name] = true
	}
	for _, name := range []string{"Call-ID", "i", "call-id", "Call-ID ", "X-Call-ID", "CSeq"} {
		require.True(t, forms[name], name)
	}
}

// TestTextsCanBeRead: what scenarios have the shell do is what the player's
// shell knows, and quotes are closed.
func TestTextsCanBeRead(t *testing.T) {
	d := &draft{Rand: rand.New(rand.NewPCG(2, 1)), began: true}
	for range 200 {
		d.roundTrip()
		d.restored()
		d.procFile()
	}
	for _, line := range d.lines {
		require.True(t, strings.HasPrefix(line, "$ "), line)
		require.Zero(t, strings.Count(line, "'")%2, line)
	}
}
