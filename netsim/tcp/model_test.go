package tcp

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

var oneSeed = flag.Uint64("seed", 0, "run only this seed of the model test")

// The model of a byte stream: what one side wrote is what the other reads,
// whatever the network does, and then both forget the connection.
func TestStreamsArriveIntact(t *testing.T) {
	if *oneSeed != 0 {
		streams(t, *oneSeed)
		return
	}
	for seed := uint64(1); seed <= 150; seed++ {
		streams(t, seed)
	}
}

func streams(t *testing.T, seed uint64) {
	t.Helper()
	replay := fmt.Sprintf("replay: go test ./netsim/tcp -run TestStreamsArriveIntact -seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	p := newPipe(func(cfg *Config) {
		cfg.ReceiveBuffer = 500 + r.IntN(65000)
		cfg.SendBuffer = 500 + r.IntN(100_000)
		cfg.Retries, cfg.SYNRetries = 60, 60
		mtu := 200 + r.IntN(8800)
		cfg.MTU = func(netip.Addr) int { return mtu }
	})
	p.delay = time.Duration(r.IntN(100)) * time.Millisecond
	p.fault = randomFaults(r, p)
	up, down := randomBytes(seed, r.IntN(60_000)), randomBytes(seed+1, r.IntN(60_000))
	client := &app{toSend: up, closeEnd: true}
	server := &app{toSend: down, closeEnd: r.IntN(2) == 0}
	server.echoEOF = !server.closeEnd
	p.open(client, server)
	done := p.runUntil(24*time.Hour, func() bool {
		checkInvariants(t, p, replay)
		return client.closed > 0 && server.closed > 0
	})
	require.True(t, done, replay)
	requireSame(t, up, server.got, replay)
	requireSame(t, down, client.got, replay)
	require.NoError(t, client.err, replay)
	require.NoError(t, server.err, replay)
	p.run(time.Hour)
	require.Zero(t, p.a.Len()+p.b.Len(), replay)
	require.Empty(t, p.a.timers, replay)
	require.Empty(t, p.b.timers, replay)
}

// requireSame says where two streams differ, not all of them.
func requireSame(t *testing.T, want, got []byte, replay string) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i], got[i], "byte %d: %s", i, replay)
	}
	require.Equal(t, len(want), len(got), replay)
}

// randomFaults loses, doubles, delays and damages segments.
func randomFaults(r *rand.Rand, p *pipe) func(flight) []time.Duration {
	loss, dup, late, damage := r.Float64()*0.25, r.Float64()*0.2, r.Float64()*0.3, r.Float64()*0.05
	return func(f flight) []time.Duration {
		var out []time.Duration
		if r.Float64() < damage { // one bit: what a checksum always notices
			f.seg[r.IntN(len(f.seg))] ^= 1 << r.IntN(8)
		}
		for range 2 {
			d := p.delay
			if r.Float64() < late {
				d += time.Duration(r.IntN(300)) * time.Millisecond
			}
			if r.Float64() >= loss {
				out = append(out, d)
			}
			if r.Float64() >= dup {
				break
			}
		}
		return out
	}
}

// checkInvariants are those of doc.go.
func checkInvariants(t *testing.T, p *pipe, replay string) {
	t.Helper()
	for _, s := range []*Stack{p.a, p.b} {
		inHeap := 0
		for _, c := range s.conns {
			ok := seqLEQ(c.una, c.nxt) && seqLEQ(c.nxt, c.max) && seqLEQ(c.rcvNxt, c.rcvAdv+1) &&
				c.early.bytes <= s.cfg.ReceiveBuffer && len(c.early.pieces) <= maxPieces &&
				c.recvq.Len() <= s.cfg.ReceiveBuffer && c.sendq.Len() <= s.cfg.SendBuffer && c.state != Closed
			if c.state >= Established && c.state != TimeWait {
				ok = ok && seqLEQ(c.sendSeq, c.una) && seqLEQ(c.una, c.queueEnd()+1)
			}
			if !ok {
				require.Failf(t, "broken invariant", "%+v\n%s", c, replay)
			}
			earliest := clock.Never
			for _, timer := range c.timers {
				earliest = min(earliest, timer)
			}
			require.Equal(t, earliest, c.deadline, replay)
			if earliest != clock.Never {
				inHeap++
				require.Same(t, c, s.timers[c.heapAt], replay)
			}
			if c.state != TimeWait && c.nxt != c.una {
				require.NotEqual(t, clock.Never, c.timers[timerRetransmit], "in flight without a timer: "+replay)
			}
		}
		require.Len(t, s.timers, inHeap, replay)
		for i := 1; i < len(s.timers); i++ {
			require.LessOrEqual(t, s.timers[(i-1)/2].deadline, s.timers[i].deadline, replay)
		}
	}
}

// Two runs of one seed are the same run.
func TestSameSeedSameSegments(t *testing.T) {
	run := func() []string {
		r := rand.New(rand.NewPCG(7, 7))
		p := newPipe(nil)
		p.fault = randomFaults(r, p)
		p.open(&app{toSend: randomBytes(1, 50_000), closeEnd: true}, &app{toSend: randomBytes(2, 9000), echoEOF: true})
		p.run(10 * time.Minute)
		return p.trace
	}
	require.Equal(t, run(), run())
}

// Many connections of one pair of hosts do not mix.
func TestManyConnections(t *testing.T) {
	p := newPipe(nil)
	r := rand.New(rand.NewPCG(3, 3))
	p.fault = randomFaults(r, p)
	var servers []*app
	_, err := p.b.Listen(serverAddr, func(now clock.Instant, c *Conn) Events {
		a := &app{echoEOF: true}
		servers = append(servers, a)
		return a.accept(now, c)
	})
	require.NoError(t, err)
	var clients []*app
	sent := map[uint16]string{}
	for i := range 50 {
		a := &app{closeEnd: true, toSend: randomBytes(uint64(i), 1+i*50)}
		text := string(a.toSend)
		c, err := p.a.Dial(p.now, netip.AddrPortFrom(addrA, 0), serverAddr, a.events())
		require.NoError(t, err)
		sent[c.LocalAddr().Port()] = text
		clients = append(clients, a)
	}
	p.run(2 * time.Hour)
	require.Len(t, servers, 50)
	for _, s := range servers {
		require.Equal(t, sent[s.conn.RemoteAddr().Port()], string(s.got))
	}
	for _, c := range clients {
		require.Equal(t, 1, c.closed)
	}
	require.Zero(t, p.a.Len()+p.b.Len())
}

// A hostile peer: whatever arrives, nothing panics, buffers stay bounded, the
// stacks fall silent, and every segment they send is well formed.
func FuzzInput(f *testing.F) {
	syn := header{src: netip.AddrPortFrom(addrA, 9), dst: serverAddr, seq: 5, flags: wire.FlagSYN, wnd: 1000, mss: 1460}
	f.Add(syn.put(nil, nil))
	f.Add([]byte{1, 0, 16, 2, 0, 3, 'a', 'b', 'c', 1, 0, 17, 2, 0, 0, 3, 9, 4, 1, 1, 2, 200})
	f.Fuzz(func(t *testing.T, script []byte) {
		p, client, server := newPipe(func(cfg *Config) { cfg.ReceiveBuffer, cfg.SendBuffer = 3000, 3000 }), &app{}, &app{}
		p.tap = func(f flight) {
			var sg segment
			require.Equal(t, faultNone, sg.parse(f.src, f.dst, f.seg))
		}
		p.b.Input(p.now, addrA, addrB, script)
		p.open(client, server)
		p.runUntil(time.Minute, func() bool { return client.connected && server.connected })
		forge(p, client.conn, script)
		checkInvariants(t, p, "")
		before := p.sent
		p.run(3 * time.Hour)
		require.Less(t, p.sent-before, 5000, "the two ends talk for ever")
		checkInvariants(t, p, "")
	})
}

// forge plays script against the server's end of c: each 5 bytes are a segment
// near the window, or something the server's application does.
func forge(p *pipe, c *Conn, script []byte) {
	for len(script) >= 5 {
		op := script[:5]
		script = script[5:]
		server := p.b.conns[flow{c.flow.remote, c.flow.local}]
		h := header{src: c.flow.local, dst: c.flow.remote, seq: c.max, ack: c.rcvNxt, flags: op[2] & 0x3f, wnd: uint16(op[4]) << 8}
		if server != nil {
			h.seq, h.ack = server.rcvNxt, server.max
		}
		h.seq += uint32(int32(int8(op[0])) * 50)
		h.ack += uint32(int32(int8(op[1])) * 50)
		switch {
		case op[3]&0xc0 == 0x40 && server != nil:
			_, _ = server.Write(p.now, make([]byte, int(op[4])*10))
		case op[3] == 0x80 && server != nil:
			server.CloseWrite(p.now)
		case op[3] == 0x81 && server != nil:
			server.Close(p.now)
		case op[3] == 0x82:
			p.run(time.Duration(op[4]) * time.Second)
		default:
			p.b.Input(p.now, addrA, addrB, h.put(nil, make([]byte, int(op[3])*20)))
		}
	}
}

func FuzzSegmentParse(f *testing.F) {
	h := header{src: netip.AddrPortFrom(addrA, 9), dst: serverAddr, flags: wire.FlagSYN, mss: 1460}
	f.Add(h.put(nil, []byte("data")))
	f.Fuzz(func(t *testing.T, b []byte) {
		var sg segment
		if sg.parse(addrA, addrB, b) == faultNone {
			require.LessOrEqual(t, len(sg.data), len(b)-wire.TCPLen)
		}
		mssOption(b)
	})
}

// The slow model of the reassembly: a byte per sequence number.
func TestReassemblyModel(t *testing.T) {
	for seed := uint64(1); seed <= 300; seed++ {
		r := rand.New(rand.NewPCG(seed, 9))
		stream := randomBytes(seed, 2000)
		base := r.Uint32()
		var got reassembly
		have := make([]bool, len(stream))
		next := 0
		for range 200 {
			at, n := next+r.IntN(300), 1+r.IntN(120)
			if at >= len(stream) {
				break
			}
			end := min(at+n, len(stream))
			got.insert(base+uint32(at), stream[at:end], 1<<20)
			for i := at; i < end; i++ {
				have[i] = true
			}
			var read []byte
			for d := got.next(base + uint32(next)); d != nil; d = got.next(base + uint32(next+len(read))) {
				read = append(read, d...)
			}
			want := next
			for want < len(stream) && have[want] {
				want++
			}
			require.Equal(t, string(stream[next:want]), string(read), "seed %d", seed)
			next = want
		}
	}
}

func TestReassemblyIsBounded(t *testing.T) {
	var r reassembly
	for i := range 1000 {
		r.insert(uint32(10+i*10), make([]byte, 5), 1000)
	}
	require.Equal(t, 1000, r.bytes)
	r.Release()
	for i := range 1000 {
		r.insert(uint32(10+i*10), make([]byte, 1), 100_000)
	}
	require.Len(t, r.pieces, maxPieces)
}
