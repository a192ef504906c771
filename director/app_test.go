package director

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// said is a TCP frame with a text.
func said(src, dst netip.AddrPort, seq, ack uint32, text string) []byte {
	b := segment(src, dst, wire.FlagACK|wire.FlagPSH, len(text))
	var p wire.Packet
	p.Parse(b, wire.Ethernet)
	t := p.Transport()
	binary.BigEndian.PutUint32(t[4:], seq)
	binary.BigEndian.PutUint32(t[8:], ack)
	copy(t[wire.TCPLen:], text)
	wire.TCP(t).SetChecksum(0)
	wire.TCP(t).SetChecksum(^wire.Fold(wire.Sum(t, wire.PseudoSum(src.Addr(), dst.Addr(), wire.ProtoTCP, len(t)))))
	return b
}

// ftp is a control connection through a testbed.
type ftp struct {
	*testbed
	client, virtual, real netip.AddrPort
}

// ftpSession opens a control connection.
func ftpSession(t *testing.T, client, virtual, real netip.AddrPort) *ftp {
	b := newTestbed(t)
	b.service(tcpID(virtual.Addr(), virtual.Port()), ipvs.Masquerade, real.String())
	b.handle(0, segment(client, virtual, wire.FlagSYN, 0))
	b.handle(1, segment(real, client, wire.FlagSYN|wire.FlagACK, 0))
	b.handle(0, segment(client, virtual, wire.FlagACK, 0))
	return &ftp{b, client, virtual, real}
}

func ftp4(t *testing.T) *ftp {
	return ftpSession(t, ap(cip, 50021), ap(vip, 21), netip.MustParseAddrPort("10.2.0.11:21"))
}

// text is what the only frame sent carries, with its numbers. Its checksum is right.
func (s *ftp) text(out *link.Output) (text string, seq, ack uint32) {
	s.tb.Helper()
	f, p := s.parsed(out)
	require.True(s.tb, forward.TCPChecksumOK(f, &p))
	require.True(s.tb, p.Version == 6 || p.V4().HeaderChecksumOK())
	t := wire.TCP(p.Transport())
	return string(forward.Payload(&p)), t.Seq(), t.Ack()
}

func (s *ftp) ask(seq, ack uint32, text string) *link.Output {
	return s.handle(0, said(s.client, s.virtual, seq, ack, text))
}

func (s *ftp) reply(seq, ack uint32, text string) *link.Output {
	return s.handle(1, said(s.real, s.client, seq, ack, text))
}

// conns lists what the table expects or has, without the control connection.
func (s *ftp) conns() (list []string) {
	s.d.Table.Walk(s.now, func(c *conntrack.Conn) bool {
		if c.Virtual != s.virtual {
			list = append(list, c.Client.String()+" "+c.Virtual.String()+" "+c.Real.String()+" "+c.StateName())
		}
		return true
	})
	return list
}

const (
	pasvReply = "227 Entering Passive Mode (10,2,0,11,19,137)\r\n"
	pasvTold  = "227 Entering Passive Mode (10,9,0,1,19,137)\r\n"
)

// TestFTPPassive: the reply is rewritten however often it is sent, and numbers
// behind it are shifted both ways.
func TestFTPPassive(t *testing.T) {
	s := ftp4(t)
	s.ask(1001, 5001, "PASV\r\n")
	for range 3 {
		text, seq, ack := s.text(s.reply(5001, 1007, pasvReply))
		require.Equal(t, pasvTold, text)
		require.EqualValues(t, 5001, seq)
		require.EqualValues(t, 1007, ack)
	}
	require.Equal(t, []string{"198.51.100.7:0 10.9.0.1:5001 10.2.0.11:5001 LISTEN"}, s.conns())
	end := uint32(5001 + len(pasvReply))
	text, seq, _ := s.text(s.reply(end, 1007, "200 ok\r\n"))
	require.Equal(t, "200 ok\r\n", text)
	require.Equal(t, end-1, seq)
	_, seq, ack := s.text(s.ask(1007, end-1, "NOOP\r\n"))
	require.EqualValues(t, 1007, seq)
	require.Equal(t, end, ack)

	text, _, _ = s.text(s.reply(end+8, 1013, pasvReply))
	require.Equal(t, pasvReply, text, "nobody asked")

	data := netip.AddrPortFrom(s.client.Addr(), 50100)
	_, p := s.parsed(s.handle(0, segment(data, ap(vip, 5001), wire.FlagSYN, 0)))
	require.Equal(t, "10.2.0.11:5001", ap(p.Dst, p.DstPort).String())
	require.Equal(t, []string{"198.51.100.7:50100 10.9.0.1:5001 10.2.0.11:5001 SYN_RECV"}, s.conns())
	_, p = s.parsed(s.handle(1, segment(netip.MustParseAddrPort("10.2.0.11:5001"), data, wire.FlagSYN|wire.FlagACK, 0)))
	require.Equal(t, ap(vip, 5001), ap(p.Src, p.SrcPort))
}

func TestFTPActive(t *testing.T) {
	s := ftp4(t)
	for range 2 {
		text, _, _ := s.text(s.ask(1001, 5001, "PORT 198,51,100,7,156,164\r\n"))
		require.Equal(t, "PORT 198,51,100,7,156,164\r\n", text, "the command stays as it is")
	}
	require.Equal(t, []string{"198.51.100.7:40100 10.9.0.1:20 10.2.0.11:20 LISTEN"}, s.conns())
	_, p := s.parsed(s.handle(1, segment(netip.MustParseAddrPort("10.2.0.11:20"), ap(cip, 40100), wire.FlagSYN, 0)))
	require.Equal(t, ap(vip, 20), ap(p.Src, p.SrcPort))
}

func TestFTPIPv6(t *testing.T) {
	s := ftpSession(t, ap(cip6, 50021), ap(vip6, 21), netip.MustParseAddrPort("[fd00:2::11]:21"))
	s.ask(1001, 5001, "EPSV\r\n")
	text, _, _ := s.text(s.reply(5001, 1007, "229 Ok (|2|fd00:2::11|5002|)\r\n"))
	require.Equal(t, "229 Ok (|||5002|)\r\n", text)
	s.ask(1007, 5020, "EPRT |2|2001:db8::7|40100|\r\n")
	require.ElementsMatch(t, []string{
		"[2001:db8::7]:0 [fd00:9::1]:5002 [fd00:2::11]:5002 LISTEN",
		"[2001:db8::7]:40100 [fd00:9::1]:20 [fd00:2::11]:20 LISTEN",
	}, s.conns())
}

// TestFTPNoOthers: other connections are not read, nor is a control connection
// that is not established.
func TestFTPNoOthers(t *testing.T) {
	s := ftpSession(t, ap(cip, 50021), ap(vip, 80), netip.MustParseAddrPort("10.2.0.11:80"))
	s.ask(1001, 5001, "PASV\r\n")
	text, _, _ := s.text(s.reply(5001, 1007, pasvReply))
	require.Equal(t, pasvReply, text)
	require.Empty(t, s.conns())

	s = ftp4(t)
	s.handle(0, segment(s.client, s.virtual, wire.FlagFIN|wire.FlagACK, 0))
	s.ask(1001, 5001, "PORT 198,51,100,7,156,164\r\n")
	require.Empty(t, s.conns())
}

// TestFTPChecksum: what is damaged stays damaged, or would be made good.
func TestFTPChecksum(t *testing.T) {
	s := ftp4(t)
	for port, frame := range [][]byte{said(s.client, s.virtual, 1001, 5001, "PASV\r\n"), said(s.real, s.client, 5001, 1001, "220 hi\r\n")} {
		frame[len(frame)-1]++
		require.Empty(t, s.handle(port, frame).Tx)
		require.Equal(t, DropHelperChecksum, s.w.seen)
	}
}

// TestFTPSuperFrame: partial checksums, super-frames, and frames without room.
func TestFTPSuperFrame(t *testing.T) {
	s := ftp4(t)
	s.ask(1001, 5001, "PASV\r\n")
	long := "227 (10,2,0,11,1,1)\r\n" + strings.Repeat("x", 4000)
	f := super(1, said(s.real, s.client, 5001, 1007, long), 1440)
	out := s.handleFrame(f)
	require.Len(t, out.Tx, 1)
	require.Equal(t, wire.GSOTCP4, out.Tx[0].GSO)
	p := s.parse(out.Tx[0])
	require.Equal(t, "227 (10,9,0,1,1,1)\r\n"+long[21:], string(forward.Payload(&p)))

	s.ask(1007, 9000, "PASV\r\n")
	small := "227 (1,1,1,1,19,137)\r\n"
	b := said(s.real, s.client, 9100, 1013, small)
	tight := wire.NewFrame(len(b))
	tight.SetBytes(b)
	tight.Port = 1
	wire.EthernetHeader(tight.Bytes()).SetDst(dirMAC1)
	text, _, _ := s.text(s.handleFrame(tight))
	require.Equal(t, "227 (10,9,0,1,19,137)\r\n", text)
}

// TestFTPTooLong: a reply that no longer fits the link is not sent.
func TestFTPTooLong(t *testing.T) {
	s := ftp4(t)
	s.ask(1001, 5001, "PASV\r\n")
	s.reply(5001, 1007, "227 (1,1,1,1,1,1)\r\n"+strings.Repeat("x", 1460-19))
	require.Equal(t, DropHelperTooBig, s.w.seen)
}

// TestFTPFull: without room for the connection it announces, a packet is dropped.
func TestFTPFull(t *testing.T) {
	s := ftp4(t)
	s.d.Table = conntrack.New(conntrack.Config{Servers: s.servers, MaxEntries: 1, Shards: 1, FTPPorts: []uint16{21}})
	s.handle(0, segment(s.client, s.virtual, wire.FlagSYN, 0))
	s.handle(1, segment(s.real, s.client, wire.FlagSYN|wire.FlagACK, 0))
	s.handle(0, segment(s.client, s.virtual, wire.FlagACK, 0))
	s.ask(1001, 5001, "PORT 198,51,100,7,156,164\r\n")
	require.Equal(t, DropTableFull, s.w.seen)
}

// TestFTPAllocatesNothing: neither do control connections cost garbage.
func TestFTPAllocatesNothing(t *testing.T) {
	s := ftp4(t)
	ask, answer := said(s.client, s.virtual, 1001, 5001, "PASV\r\n"), said(s.real, s.client, 5001, 1007, pasvReply)
	wire.EthernetHeader(answer).SetDst(dirMAC1)
	f, g := wire.NewFrame(wire.MaxFrame), wire.NewFrame(wire.MaxFrame)
	batch := []*link.Frame{f, g}
	round := func() {
		f.Reset()
		g.Reset()
		f.SetBytes(ask)
		g.SetBytes(answer)
		g.Port = 1
		s.out.Reset()
		s.w.Handle(s.now, batch, &s.out)
	}
	round()
	require.Equal(t, Forwarded, s.w.seen)
	require.Zero(t, testing.AllocsPerRun(100, round))
}
