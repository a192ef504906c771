package netsim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"usvs/director"
)

// recorded runs a DR echo with a few faults and returns the records.
func recorded(t testing.TB) (*lab, *Recorder) {
	l := newLab(1, LinkOptions{Delay: 50 * time.Microsecond})
	rec := l.Record()
	for _, h := range l.servers {
		h.MustExec("usvs realserver up --vip 10.0.0.100")
		echo(t, h, "0.0.0.0:53")
	}
	l.service("10.0.0.100:53", "-g", "10.0.0.11", "10.0.0.12")
	l.ask(t, l.client, "10.0.0.100:53", "one")
	l.client.Port("eth0").Link().Cut(l.client.Port("eth0"), true)
	l.ask(t, l.client, "10.0.0.100:53", "two")
	return l, rec
}

func TestPcapngIsReadable(t *testing.T) {
	l, rec := recorded(t)
	var file bytes.Buffer
	require.NoError(t, l.WritePcapng(&file, rec.Records))
	r, err := pcapgo.NewNgReader(&file, pcapgo.NgReaderOptions{WantMixedLinkType: true, ErrorOnMismatchingLinkType: true})
	require.NoError(t, err)
	for i := 0; ; i++ {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			require.Len(t, rec.Records, i)
			break
		}
		require.NoError(t, err)
		want := rec.Records[i]
		require.Equal(t, want.Data, data)
		require.Equal(t, int64(Since(want.Sent)), info.Timestamp.UnixNano())
		require.Equal(t, l.links[info.InterfaceIndex], want.Link)
	}
	require.Equal(t, len(l.links), r.NInterfaces())
	for i, link := range l.links {
		intf, err := r.Interface(i)
		require.NoError(t, err)
		require.Equal(t, link.Name(), intf.Name)
		require.Equal(t, layers.LinkTypeEthernet, intf.LinkType)
	}
}

func TestComments(t *testing.T) {
	l, rec := recorded(t)
	var all []string
	for _, r := range rec.On(l.lvs.Port("eth0").Link()) {
		if c := r.Comment(); c != "" {
			all = append(all, r.From.String()+": "+c)
		}
	}
	require.Equal(t, []string{
		"sw:2: lvs: waiting, service UDP 10.0.0.100:53, server 10.0.0.12:53 Route, new connection by rr; " +
			"round robin: the first usable server behind the one chosen last; the round starts at the head of the list; " +
			"10.0.0.12:53 usable; 10.0.0.11:53 usable",
		"lvs:eth0: lvs: asks for the next hop's MAC address",
		"lvs:eth0: lvs: it waited for the next hop's MAC address",
	}, all)
	last := rec.On(l.client.Port("eth0").Link())
	require.Equal(t, "link: cut", last[len(last)-1].Comment())
}

func TestCommentsOfRewriting(t *testing.T) {
	l := newNATLab(t, false)
	l.ask(t, l.client, "198.51.100.100:53", "warm up")
	l.ask(t, l.client, "198.51.100.100:53", "both servers")
	rec := l.Record()
	l.ask(t, l.client, "198.51.100.100:53", "x")
	var notes []string
	for _, r := range rec.Records {
		if r.From.Node() == l.lvs && r.Emitter != nil && !isNeighbourMessage(r.Data) {
			notes = append(notes, r.Comment())
			require.Equal(t, director.Forwarded, r.Emitter.Reason)
			require.Equal(t, r.Emitter, r.Cause.Verdict, "the frame that was rewritten is the cause")
		}
	}
	require.Equal(t, []string{
		"lvs: forwarded, service UDP 198.51.100.100:53, server 10.0.0.12:5353 Masq, new connection by rr; " +
			"source MAC 02:00:00:00:02:00 -> 02:00:00:00:03:01, destination MAC 02:00:00:00:03:00 -> 02:00:00:00:05:00, " +
			"destination 198.51.100.100 -> 10.0.0.12, destination port 53 -> 5353, TTL 64 -> 63",
		"lvs: forwarded, service UDP 198.51.100.100:53, server 10.0.0.12:5353 Masq, known connection; " +
			"source MAC 02:00:00:00:05:00 -> 02:00:00:00:03:00, destination MAC 02:00:00:00:03:01 -> 02:00:00:00:02:00, " +
			"source 10.0.0.12 -> 198.51.100.100, source port 5353 -> 53, TTL 64 -> 63",
	}, notes)
}

// textOf is records as text, a line for each.
func textOf(records []*Record) string {
	var b strings.Builder
	for _, r := range records {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

func TestSummaries(t *testing.T) {
	_, rec := recorded(t)
	text := textOf(rec.Records)
	for _, line := range []string{
		"   0.000000000 client:eth0 > sw:1 ARP who has 10.0.0.100? tell 10.0.0.9\n",
		"ARP 10.0.0.100 is at 02:00:00:00:03:00",
		"lvs:eth0 > sw:2 ARP announcement: 10.0.0.100 is at 02:00:00:00:03:00",
		"10.0.0.9.32768 > 10.0.0.100.53: UDP, length 11", "# link: cut",
	} {
		require.Contains(t, text, line)
	}
	require.Contains(t, Summary([]byte{1, 2, 3}), "3 bytes")
	require.Contains(t, Summary(make([]byte, 60)), "ethertype 0x0000")
	p := newPath(t, 1400)
	p.ping(t, "10.0.0.2", PingOptions{Size: 1450, PacketOptions: PacketOptions{DontFragment: true}})
	p.ping(t, "10.0.0.2", PingOptions{Size: 1450})
	p.ping(t, "2001:db8:2::2", PingOptions{Size: 1450})
	_, _ = p.client.DialTCP(addrPort("0.0.0.0:1000"), addrPort("10.0.0.2:80"), noEvents)
	p.Run(time.Second)
	text = textOf(p.rec.Records)
	for _, line := range []string{
		"192.0.2.1 > 192.0.2.9: ICMP fragmentation needed, mtu 1400 [192.0.2.9 > 10.0.0.2: ICMP echo request, length 528]",
		"more fragments", "fragment of protocol 1 at 1376",
		"2001:db8:1::9 > ff02::1:ff00:1: ICMP neighbour solicitation 2001:db8:1::1",
		"ICMP packet too big, mtu 1400",
		"192.0.2.9.1000 > 10.0.0.2.80: TCP S seq ", "10.0.0.2.80 > 192.0.2.9.1000: TCP R. seq 0",
	} {
		require.Contains(t, text, line)
	}
	require.Equal(t, "none", FlagNames(0))
	require.Equal(t, "FPU", FlagNames(0x29))
}

func FuzzSummary(f *testing.F) {
	_, rec := recorded(f)
	for _, r := range rec.Records {
		f.Add(r.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		require.NotEmpty(t, Summary(b))
		Changes(b, b)
	})
}

// TestTsharkReadsComments: another implementation sees the interfaces, times
// and comments that were written.
func TestTsharkReadsComments(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("needs tshark")
	}
	l, rec := recorded(t)
	path := filepath.Join(t.TempDir(), "run.pcapng")
	var file, want bytes.Buffer
	require.NoError(t, l.WritePcapng(&file, rec.Records))
	require.NoError(t, os.WriteFile(path, file.Bytes(), 0o600))
	for _, r := range rec.Records {
		at := Since(r.Sent)
		fmt.Fprintf(&want, "%d.%09d|%s|%d|%s\n", at/time.Second, at%time.Second, r.Link.Name(), len(r.Data), strings.Join(r.comments(), ","))
	}
	out, err := exec.Command(tshark, "-n", "-r", path, "-T", "fields", "-E", "separator=|", "-e", "frame.time_epoch",
		"-e", "frame.interface_name", "-e", "frame.len", "-e", "frame.comment").Output()
	require.NoError(t, err)
	require.Equal(t, want.String(), string(out))
}

// TestWhy: a comment tells how connection and server came together.
func TestWhy(t *testing.T) {
	l := newLab(1, LinkOptions{})
	for _, h := range l.servers {
		h.MustExec("usvs realserver up --vip 10.0.0.100")
		echo(t, h, "0.0.0.0:80")
	}
	l.lvs.MustExec("iptables -t mangle -A PREROUTING -d 10.0.0.100 -p udp -j MARK --set-mark 7")
	l.lvs.MustExec("ipvsadm -A -f 7 -s wlc -p 300")
	l.lvs.MustExec("ipvsadm -a -f 7 -r 10.0.0.11 -g -w 2")
	rec := l.Record()
	u, err := l.client.UDP(netip.AddrPort{})
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, u.Send(addrPort("10.0.0.100:80"), []byte("x")))
		l.Run(time.Second)
	}
	l.ask(t, l.client, "10.0.0.100:80", "by the template")
	var why []string
	for _, r := range rec.On(l.lvs.Port("eth0").Link()) {
		if r.To.Node() == l.lvs && r.Verdict.Server != "" {
			why = append(why, r.Notes[0])
		}
	}
	require.Equal(t, []string{
		"lvs: waiting, mark 7, service FWM 7 (persistent), server 10.0.0.11:0 Route, new connection by wlc",
		"lvs: forwarded, mark 7, service FWM 7 (persistent), server 10.0.0.11:0 Route, known connection",
		"lvs: forwarded, mark 7, service FWM 7 (persistent), server 10.0.0.11:0 Route, new connection by its persistence template",
	}, why)
}
