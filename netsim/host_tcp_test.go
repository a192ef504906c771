package netsim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/netsim/tcp"
)

// serveTCP answers each connection with the host's name and the bytes it sent,
// once the client has sent all of them.
func serveTCP(t testing.TB, h *Host, addr string) {
	_, err := h.ListenTCP(addrPort(addr), func(_ clock.Instant, _ *tcp.Conn) tcp.Events {
		text := []byte(h.Name() + " ")
		return tcp.Events{Readable: func(now clock.Instant, c *tcp.Conn) {
			if readAll(now, c, &text) {
				_, _ = c.Write(now, text)
				c.Close(now)
			}
		}}
	})
	require.NoError(t, err)
}

// readAll appends what can be read to text and reports whether that was all.
func readAll(now clock.Instant, c *tcp.Conn, text *[]byte) bool {
	var b [2048]byte
	for {
		n, err := c.Read(now, b[:])
		*text = append(*text, b[:n]...)
		if err != nil {
			return err.Error() == "EOF"
		}
	}
}

// ask opens a connection, sends text, and stores the answer or the error.
func ask(t testing.TB, h *Host, to, text string, answer *string) {
	var got []byte
	_, err := h.DialTCP(netip.AddrPort{}, addrPort(to), tcp.Events{
		Connected: func(now clock.Instant, c *tcp.Conn) {
			n, err := c.Write(now, []byte(text))
			require.NoError(t, err)
			require.Equal(t, len(text), n)
			c.CloseWrite(now)
		},
		Readable: func(now clock.Instant, c *tcp.Conn) { readAll(now, c, &got) },
		Closed: func(_ clock.Instant, _ *tcp.Conn, err error) {
			*answer = string(got)
			if err != nil {
				*answer = err.Error()
			}
		},
	})
	require.NoError(t, err)
}

func TestTCPThroughTheDirector(t *testing.T) {
	for _, tc := range []struct{ name, flag, vip, rip, setup, route string }{
		{"dr", "-g", "10.0.0.100", "10.0.0.1%d", "usvs realserver up --vip 10.0.0.100", ""},
		{"nat", "-m", "10.1.0.100", "10.0.0.1%d", "", "ip route add 10.1.0.0/24 via 10.0.0.1"},
		{"tun", "-i", "10.0.0.100", "10.0.0.1%d", "usvs realserver up --vip 10.0.0.100 --mode tun", ""},
		{"dr6", "-g", "[2001:db8::100]", "[2001:db8::1%d]:80", "usvs realserver up --vip 2001:db8::100", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(1, LinkOptions{})
			client := l.client
			if tc.name == "nat" { // a second network, so that answers go through the director
				client = l.Host("outside")
				l.Link(client.NIC("eth0", "10.1.0.9/24"), l.lvs.NIC("eth1", "10.1.0.1/24"))
			}
			l.lvs.MustExec(fmt.Sprintf("ipvsadm -A -t %s:80 -s rr", tc.vip))
			for i, h := range l.servers {
				for _, c := range []string{tc.setup, tc.route} {
					if c != "" {
						h.MustExec(c)
					}
				}
				l.lvs.MustExec(fmt.Sprintf("ipvsadm -a -t %s:80 -r "+tc.rip+" %s", tc.vip, i+1, tc.flag))
				serveTCP(t, h, "0.0.0.0:80")
			}
			var first, second string // fill the neighbour caches
			ask(t, client, tc.vip+":80", "x", &first)
			ask(t, client, tc.vip+":80", "x", &second)
			l.Run(time.Second)
			require.ElementsMatch(t, []string{"rs1 x", "rs2 x"}, []string{first, second})
			l.worsen(LinkOptions{Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.05, Duplicate: 0.05})
			answers := make([]string, 20)
			for i := range answers {
				text := strings.Repeat(fmt.Sprint("request ", i, ". "), 500*i)
				ask(t, client, tc.vip+":80", text, &answers[i])
			}
			l.Run(10 * time.Minute)
			shares := map[string]int{}
			for i, a := range answers {
				who, text, _ := strings.Cut(a, " ")
				shares[who]++
				require.Equal(t, strings.Repeat(fmt.Sprint("request ", i, ". "), 500*i), text)
			}
			require.Equal(t, 20, shares["rs1"]+shares["rs2"])
			require.NotZero(t, shares["rs1"]*shares["rs2"])
			require.NotZero(t, client.TCP().Counters().Retransmits)
			require.Zero(t, client.TCP().Len(), "every connection ends")
		})
	}
}

func TestTCPToNobody(t *testing.T) {
	l := newLab(1, LinkOptions{Delay: time.Millisecond})
	var refused, closed, absent, nowhere string
	ask(t, l.client, "10.0.0.11:80", "", &refused) // a host without sockets
	l.servers[1].TCP()
	ask(t, l.client, "10.0.0.12:80", "", &closed)
	ask(t, l.client, "10.0.0.77:80", "", &absent)
	_, err := l.client.DialTCP(netip.AddrPort{}, addrPort("192.0.2.1:80"), tcp.Events{})
	require.ErrorIs(t, err, tcp.ErrUnreachable)
	require.Empty(t, nowhere)
	l.Run(10 * time.Minute)
	require.Equal(t, tcp.ErrRefused.Error(), refused)
	require.Equal(t, tcp.ErrRefused.Error(), closed)
	require.Equal(t, tcp.ErrUnreachable.Error(), absent)
}

func TestTCPToOneself(t *testing.T) {
	l := newLab(1, LinkOptions{})
	serveTCP(t, l.client, "127.0.0.1:80")
	var answer string
	text := strings.Repeat("x", 100_000)
	ask(t, l.client, "127.0.0.1:80", text, &answer)
	l.Run(time.Minute)
	require.Equal(t, "client "+text, answer)
}

func TestTCPLearnsThePathMTU(t *testing.T) {
	for _, v := range []string{"4", "6"} {
		t.Run("IPv"+v, func(t *testing.T) {
			n := New(1)
			a, r, b := n.Host("a"), n.Router("r"), n.Host("b")
			n.Link(a.NIC("eth0", "10.0.1.2/24", "2001:db8:1::2/64"), r.NIC("eth0", "10.0.1.1/24", "2001:db8:1::1/64"))
			n.Link(r.NIC("eth1", "10.0.2.1/24", "2001:db8:2::1/64"), b.NIC("eth0", "10.0.2.2/24", "2001:db8:2::2/64"))
			a.MustExec("ip route add default via 10.0.1.1")
			b.MustExec("ip route add default via 10.0.2.1")
			a.MustExec("ip -6 route add default via 2001:db8:1::1")
			b.MustExec("ip -6 route add default via 2001:db8:2::1")
			r.MustExec("ip link set eth1 mtu 1300")
			serveTCP(t, b, "0.0.0.0:80")
			to := map[string]string{"4": "10.0.2.2:80", "6": "[2001:db8:2::2]:80"}[v]
			var answer string
			text := strings.Repeat("longer than one segment. ", 4000)
			ask(t, a, to, text, &answer)
			n.Run(5 * time.Second)
			require.Equal(t, "b "+text, answer)
			require.Equal(t, 1300, a.PathMTU(addrPort(to).Addr()))
			require.NotZero(t, r.Counters()["too big"])
		})
	}
}

func TestTCPIsTheSameEachTime(t *testing.T) {
	run := func() (uint64, tcp.Counters) {
		l := newLab(7, LinkOptions{Delay: time.Millisecond, Loss: 0.1, Jitter: 3 * time.Millisecond})
		serveTCP(t, l.servers[0], "10.0.0.11:80")
		answers := make([]string, 30)
		for i := range answers {
			ask(t, l.client, "10.0.0.11:80", strings.Repeat("y", 1000*i), &answers[i])
		}
		l.Run(time.Hour)
		return l.Stats().Events, l.client.TCP().Counters()
	}
	events, counters := run()
	again, countersAgain := run()
	require.Equal(t, events, again)
	require.Equal(t, counters, countersAgain)
}

// What is for the director's own address is its host's, not the director's.
func TestTCPToTheDirectorItself(t *testing.T) {
	l := newLab(1, LinkOptions{Delay: time.Millisecond})
	l.lvs.MustExec("ipvsadm -A -t 10.0.0.100:80 -s rr")
	serveTCP(t, l.lvs.Host, "10.0.0.1:22")
	var ssh, vip string
	ask(t, l.client, "10.0.0.1:22", "hello", &ssh)
	ask(t, l.client, "10.0.0.100:22", "hello", &vip)
	l.Run(10 * time.Minute)
	require.Equal(t, "lvs hello", ssh)
	require.Equal(t, tcp.ErrRefused.Error(), vip, "nobody listens at the VIP's port 22")
}

// A link that comes back delays a connection; one that does not ends it.
func TestTCPOutlivesALinkThatGoesDownForAWhile(t *testing.T) {
	l := newLab(1, LinkOptions{Delay: time.Millisecond})
	serveTCP(t, l.servers[0], "10.0.0.11:80")
	var answer, dead string
	text := strings.Repeat("z", 200_000)
	ask(t, l.client, "10.0.0.11:80", text, &answer)
	link := l.client.Port("eth0").Link()
	l.After(12*time.Millisecond, func() { link.SetUp(false) })
	l.After(20*time.Second, func() { link.SetUp(true) })
	l.Run(5 * time.Minute)
	require.Equal(t, "rs1 "+text, answer)
	require.NotZero(t, l.client.TCP().Counters().Timeouts)

	ask(t, l.client, "10.0.0.11:80", text, &dead)
	l.After(8*time.Millisecond, func() { link.SetUp(false) })
	l.Run(time.Hour)
	require.Equal(t, tcp.ErrTimeout.Error(), dead)
	require.Zero(t, l.client.TCP().Len())
}
