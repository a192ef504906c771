package fuzz

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/conntrack"
	"usvs/director"
	"usvs/ipvs"
	"usvs/scenario"
)

const lab = `switch front back
director director front 10.0.0.1/24 back 10.1.0.1/24
client c1 front 10.0.0.9/24 via 10.0.0.1
server rs1 back 10.1.0.21/24 via 10.1.0.1
server rs2 back 10.1.0.22/24 via 10.1.0.1
rs1$ usvs realserver up --vip 10.0.0.101
`

const (
	masq   = "director$ ipvsadm -A -u 10.0.0.100:53 -s rr\ndirector$ ipvsadm -a -u 10.0.0.100:53 -r 10.1.0.21:53 -m\nudp c1 -> 10.0.0.100:53 x3\n"
	routed = "director$ ipvsadm -A -u 10.0.0.101:53 -s rr\ndirector$ ipvsadm -a -u 10.0.0.101:53 -r 10.1.0.21:53 -g\nudp c1 -> 10.0.0.101:53 x3 timeout 100ms\n"
	tun    = "director$ ipvsadm -A -u 10.0.0.101:53 -s rr\ndirector$ ipvsadm -a -u 10.0.0.101:53 -r 10.1.0.21:53 -i\nudp c1 -> 10.0.0.101:53 x3 timeout 100ms\n"
)

// watched plays a scenario and returns its judge and the last frame that was
// forwarded from an interface.
func watched(t *testing.T, text string, port int) (*Judge, *director.Event) {
	t.Helper()
	f, err := scenario.Parse("lab", []byte(text))
	require.NoError(t, err)
	p := &player{sim: scenario.NewSim(1), cover: NewCoverage()}
	require.NoError(t, p.sim.Build(&f.Topology))
	p.find(&f.Topology, false)
	j := p.judges[0]
	var last *director.Event
	j.dir.Core().Observe(func(ev *director.Event) {
		if ev.Reason == director.Forwarded && ev.Port == port {
			last = ev
		}
	})
	require.NoError(t, p.steps(f, nil))
	for _, s := range f.Steps {
		require.NoError(t, p.do(s.Do))
	}
	require.Nil(t, j.Err())
	require.NotNil(t, last)
	return j, last
}

// resum makes an IPv4 header's checksum right.
func resum(frame []byte) {
	frame[24], frame[25] = 0, 0
	binary.BigEndian.PutUint16(frame[24:], checksum(frame[14:34], 0))
}

// Whatever a director may do wrong to a frame, the judge says.
func TestJudgeSeesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name, text string
		port       int
		wrong      func(ev *director.Event, b []byte) // b: the frame that left
		rule       string
	}{
		{"nothing", masq, 0, func(*director.Event, []byte) {}, ""},
		{"source MAC", masq, 0, func(_ *director.Event, b []byte) { b[11]++ }, "station"},
		{"next hop", masq, 0, func(_ *director.Event, b []byte) { b[4]++ }, "station"},
		{"next hop, DR", routed, 0, func(_ *director.Event, b []byte) { b[4]++ }, "station"},
		{"IP checksum", masq, 0, func(_ *director.Event, b []byte) { b[24]++ }, "well-formed"},
		{"length", masq, 0, func(_ *director.Event, b []byte) { b[17]++; resum(b) }, "well-formed"},
		{"TTL", masq, 0, func(_ *director.Event, b []byte) { b[22]++; resum(b) }, "TTL"},
		{"TTL, back", masq, 1, func(_ *director.Event, b []byte) { b[22]++; resum(b) }, "TTL"},
		{"TTL, DR", routed, 0, func(_ *director.Event, b []byte) { b[22]++; resum(b) }, "TTL"},
		{"UDP checksum", masq, 0, func(_ *director.Event, b []byte) { b[40]++ }, "checksum"},
		{"no UDP checksum", masq, 0, func(_ *director.Event, b []byte) { b[40], b[41] = 0, 0 }, "UDP checksum"},
		{"server's name, back", masq, 1, func(ev *director.Event, b []byte) { copy(b, ev.Before) }, "station"},
		{"another service's name, back", masq, 1, func(_ *director.Event, b []byte) { b[35]++; b[41]-- }, "NAT symmetry"},
		{"another server's port", masq, 0, func(_ *director.Event, b []byte) { b[37]++; b[41]-- }, "affinity"},
		{"TOS, DR", routed, 0, func(_ *director.Event, b []byte) { b[15] = 4; resum(b) }, "payload"},
		{"tunnel's end", tun, 0, func(_ *director.Event, b []byte) { b[33]++; resum(b) }, "station"},
		{"left as it was", masq, 1, func(ev *director.Event, _ []byte) { ev.Reason, ev.After = director.Passed, nil }, "NAT symmetry"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, ev := watched(t, lab+c.text, c.port)
			require.NotEmpty(t, ev.After)
			c.wrong(ev, ev.After[0].Data)
			j.event(ev)
			if c.rule == "" {
				require.Nil(t, j.Err())
				return
			}
			require.NotNil(t, j.Err())
			require.Equal(t, c.rule, j.Err().Rule, j.Err().Text)
		})
	}
}

// The table is compared with what it must be: whatever is different, is said.
func TestJudgeSeesATableThatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		wrong func(j *Judge, r *record) // r: the only connection, as it must be
		rule  string
	}{
		{"nothing", func(*Judge, *record) {}, ""},
		{"another server", func(j *Judge, _ *record) { j.table.conns[0].Real = at("10.1.0.22:53") }, "affinity"},
		{"gone before its time", func(j *Judge, r *record) {
			more := *r
			more.ref = conntrack.Ref{}
			j.book.add(&more)
		}, "opening"},
		{"there after its time", func(j *Judge, r *record) { j.book.remove(r) }, "table"},
		{"state", func(_ *Judge, r *record) { r.proto, r.state.State = ipvs.TCP, "ESTABLISHED" }, "state"},
		{"active", func(_ *Judge, r *record) { r.state.Inactive = false }, "state"},
		{"NOOUTPUT", func(_ *Judge, r *record) { r.state.Silent = true }, "state"},
		{"timeout", func(_ *Judge, r *record) { r.timeout++ }, "timeout"},
		{"end", func(_ *Judge, r *record) { r.expires++ }, "timeout"},
		{"packets", func(_ *Judge, r *record) { r.packets++ }, "table"},
		{"counts", func(j *Judge, _ *record) { j.table.conns[0].Server.Bind(true) }, "counts"},
		{"templates", func(j *Judge, _ *record) { j.table.conns[0].Server.BindTemplate() }, "counts"},
		{"overload", func(j *Judge, r *record) { j.book.servers[r.server].Overload = true }, "counts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, ev := watched(t, lab+masq, 0)
			require.NotEmpty(t, j.book.entries)
			for _, r := range slices.Clone(j.book.entries[1:]) {
				j.dir.Core().Table.Expire(ev.Now, r.ref)
				j.book.remove(r)
			}
			// A frame that concerns no connection: whatever changed is wrong.
			ev = &director.Event{Now: ev.Now, Before: ether([6]byte{}, [6]byte{}, (&segment{
				proto: protoUDP, src: at("10.0.0.9:9"), dst: at("10.0.0.100:9"), ttl: 9}).packet()), Reason: director.Ignored}
			c.wrong(j, j.book.entries[0])
			j.event(ev)
			if c.rule == "" {
				require.Nil(t, j.Err())
				return
			}
			require.NotNil(t, j.Err())
			require.Equal(t, c.rule, j.Err().Rule, j.Err().Text)
		})
	}
}

// A scheduler that picks another server than its model is found out.
func TestJudgeSeesAWrongChoice(t *testing.T) {
	for _, name := range Schedulers {
		text := lab + "director$ ipvsadm -A -u 10.0.0.100:53 -s " + name + "\n" +
			"director$ ipvsadm -a -u 10.0.0.100:53 -r 10.1.0.21:53 -m\n" +
			"director$ ipvsadm -a -u 10.0.0.100:53 -r 10.1.0.22:53 -m\n" +
			"udp c1 -> 10.0.0.100:53 x3\n"
		j, _ := watched(t, text, 0)
		svc := j.dir.Core().Snapshot().Services[0]
		require.NotZero(t, j.cover.Faults["scheduler's choice foreseen"], name)
		j.heard = heard{packet: &packet{}, asked: svc, known: true, picked: svc.Servers[0], foreseen: svc.Servers[0]}
		j.scheduled()
		require.Nil(t, j.Err())
		j.heard.foreseen = svc.Servers[1]
		j.scheduled()
		require.Equal(t, "scheduler", j.Err().Rule)
	}
}
