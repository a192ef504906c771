package tcp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/wire"
)

var (
	addrA = netip.MustParseAddr("10.0.0.1")
	addrB = netip.MustParseAddr("10.0.0.2")
)

// flight is a segment on its way.
type flight struct {
	at       clock.Instant
	order    int
	src, dst netip.Addr
	seg      []byte
}

// pipe is two stacks and what is between them: a delay, and whatever fault
// decides about each segment.
type pipe struct {
	now   clock.Instant
	a, b  *Stack
	wire  []flight
	sent  int
	delay time.Duration
	// fault returns the delays after which copies of the segment arrive; none loses it.
	fault func(f flight) []time.Duration
	trace []string
	tap   func(f flight)
}

func newPipe(change func(cfg *Config)) *pipe {
	p := &pipe{now: clock.Instant(time.Second), delay: 10 * time.Millisecond}
	make1 := func(isn uint32) *Stack {
		cfg := Config{Output: p.output, ISN: func() uint32 { isn += 1 << 20; return isn }}
		if change != nil {
			change(&cfg)
		}
		return New(cfg)
	}
	// Sequence numbers that wrap early.
	p.a, p.b = make1(0xffff_f000-1<<20), make1(0xffff_8000-1<<20)
	return p
}

func (p *pipe) output(now clock.Instant, src, dst netip.Addr, seg []byte) {
	f := flight{src: src, dst: dst, seg: slices.Clone(seg)}
	p.trace = append(p.trace, describe(now, f))
	if p.tap != nil {
		p.tap(f)
	}
	delays := []time.Duration{p.delay}
	if p.fault != nil {
		delays = p.fault(f)
	}
	for _, d := range delays {
		p.sent++
		f.at, f.order = now.Add(d), p.sent
		p.wire = append(p.wire, f)
	}
}

func describe(now clock.Instant, f flight) string {
	h := wire.TCP(f.seg)
	flags := ""
	for i, c := range "FSRPAU" {
		if h.Flags()&(1<<i) != 0 {
			flags += string(c)
		}
	}
	return fmt.Sprintf("%v %v:%d>%v:%d %s seq=%d ack=%d len=%d win=%d", time.Duration(now), f.src, h.SrcPort(),
		f.dst, h.DstPort(), flags, h.Seq(), h.Ack(), len(f.seg)-h.HeaderLen(), h.Window())
}

func (p *pipe) next() clock.Instant {
	at := min(p.a.Deadline(), p.b.Deadline())
	for _, f := range p.wire {
		at = min(at, f.at)
	}
	return at
}

// step lets the next thing happen.
func (p *pipe) step() bool {
	at := p.next()
	if at == clock.Never {
		return false
	}
	p.now = max(p.now, at)
	best := -1
	for i, f := range p.wire {
		if f.at <= p.now && (best < 0 || f.at < p.wire[best].at || f.at == p.wire[best].at && f.order < p.wire[best].order) {
			best = i
		}
	}
	if best >= 0 {
		f := p.wire[best]
		p.wire = slices.Delete(p.wire, best, best+1)
		p.stackOf(f.dst).Input(p.now, f.src, f.dst, f.seg)
		return true
	}
	p.a.Tick(p.now)
	p.b.Tick(p.now)
	return true
}

func (p *pipe) stackOf(a netip.Addr) *Stack {
	if a == addrA {
		return p.a
	}
	return p.b
}

// run goes on until nothing is due within d.
func (p *pipe) run(d time.Duration) {
	end := p.now.Add(d)
	for p.next() <= end && p.step() {
	}
	p.now = end
}

// runUntil goes on until cond holds; false if it never does within limit.
func (p *pipe) runUntil(limit time.Duration, cond func() bool) bool {
	end := p.now.Add(limit)
	for !cond() {
		if p.next() > end || !p.step() {
			return false
		}
	}
	return true
}

// app is an application that records everything and reads at once.
type app struct {
	conn      *Conn
	connected bool
	got       []byte
	eof       bool
	closed    int
	err       error
	toSend    []byte
	closeEnd  bool // close writing behind toSend
	echoEOF   bool // close writing when the peer has
	stopRead  bool
}

func (a *app) events() Events {
	return Events{
		Connected: func(now clock.Instant, c *Conn) { a.conn, a.connected = c, true; a.pump(now) },
		Readable:  func(now clock.Instant, c *Conn) { a.read(now) },
		Writable:  func(now clock.Instant, c *Conn) { a.pump(now) },
		Closed:    func(now clock.Instant, c *Conn, err error) { a.closed++; a.err = err },
	}
}

func (a *app) accept(now clock.Instant, c *Conn) Events {
	a.conn, a.connected = c, true
	a.pump(now)
	return a.events()
}

func (a *app) pump(now clock.Instant) {
	for len(a.toSend) > 0 {
		n, err := a.conn.Write(now, a.toSend)
		if err != nil {
			return
		}
		a.toSend = a.toSend[n:]
		if n == 0 {
			return
		}
	}
	if a.closeEnd {
		a.conn.CloseWrite(now)
	}
}

func (a *app) read(now clock.Instant) {
	var b [4096]byte
	for !a.stopRead {
		n, err := a.conn.Read(now, b[:])
		a.got = append(a.got, b[:n]...)
		if err != nil {
			a.eof = err.Error() == "EOF"
			break
		}
	}
	if a.eof && a.echoEOF {
		a.closeEnd = true
		a.pump(now)
	}
}

var serverAddr = netip.AddrPortFrom(addrB, 80)

// open connects a client at a to a server at b.
func (p *pipe) open(client, server *app) {
	if _, err := p.b.Listen(serverAddr, server.accept); err != nil {
		panic(err)
	}
	c, err := p.a.Dial(p.now, netip.AddrPortFrom(addrA, 0), serverAddr, client.events())
	if err != nil {
		panic(err)
	}
	client.conn = c
}

func randomBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
