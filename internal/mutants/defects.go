package main

// defect is a mistake, made by replacing a piece of source text.
type defect struct {
	name     string
	file     string
	old, new string
}

var defects = []defect{
	{"stale TTL checksum", "forward/nat.go",
		"h.SetChecksum(wire.Update16(h.Checksum(), old, be16(h[8:])))", "_ = old"},
	{"NAT pseudo-header", "forward/nat.go",
		"patch16(field, d.oldAddr+uint64(d.oldPort), d.newAddr+uint64(d.newPort))", "patch16(field, uint64(d.oldPort), uint64(d.newPort))"},
	{"UDP checksum 0 instead of 0xffff", "forward/nat.go",
		"put16(field, zeroIsNoneUDP)", "put16(field, 0*zeroIsNoneUDP)"},
	{"reply not translated back", "director/output.go",
		"forward.RewriteSrc(f, p, c.Virtual)", "_ = forward.RewriteSrc"},
	{"template ignored", "director/schedule.go",
		"if rs != nil && rs.Available() && !(", "if rs == nil && !("},
	{"scheduler's cursor off by one", "sched/rr.go",
		"s.after = i + 1", "s.after = i"},
	{"oldest server first", "control/server.go",
		"svc.setServers(append([]*server{srv}, svc.servers...))", "svc.setServers(append(append([]*server{}, svc.servers...), srv))"},
	{"leaked active count", "conntrack/life.go",
		"rs.Unbind(active)", "rs.Unbind(false)"},
	{"entry that never expires", "conntrack/state.go",
		"return time.Duration(tcpNormal.timeout[state]) * time.Second", "return time.Duration(tcpNormal.timeout[state]) * 1000 * time.Hour"},
	{"wrong next-hop MAC", "director/send.go",
		"	eth.SetDst(mac)\n", "	mac[4] ^= 1\n	eth.SetDst(mac)\n"},
	{"fragment to another server", "director/gather.go",
		"	return g\n", "	w.p.SrcPort ^= 1\n	return g\n"},
	{"ARP answered for an unowned VIP", "arp/questions.go",
		"case op == opRequest && c.local.Owned(port, target):", "case op == opRequest:"},
	{"TTL not decremented", "director/transmit.go",
		"	forward.DecrementTTL(p)\n	if c.Method == ipvs.Tunnel {", "	if c.Method == ipvs.Tunnel {"},
	{"MTU judged by the super-frame", "forward/mtu.go",
		"return min(n, head-p.L3+int(f.GSOSize))", "return n"},
	{"port kept when the header is cut short", "director/transmit.go",
		"return w.p.Ports && !w.p.Full", "return false"},
	{"a cell of the state table under secure_tcp", "conntrack/tcp.go",
		"{ss, es, ss, sa, ss, ss, ss, ss, ss, li, sa}, // SYN", "{ss, es, ss, sr, ss, ss, ss, ss, ss, li, sa}, // SYN"},
	{"a cell of SCTP's state table", "conntrack/sctp.go",
		"{es, i1, in, es, es, cw, es, es, es, ss, sr, sa, rj, cl}, // COOKIE-ACK", "{es, in, in, es, es, cw, es, es, es, ss, sr, sa, rj, cl}, // COOKIE-ACK"},
	{"a state's timeout", "conntrack/tcp.go", "TCPCloseWait: 60", "TCPCloseWait: 61"},
	{"template's timer not restarted", "director/schedule.go",
		"w.d.Table.Rearm(w.now, tmpl.Ref)", "_ = w.d.Table"},
	{"wrr's level after an edit", "sched/wrr.go", "s.level = s.level/s.step*s.step + 1", "s.level = s.top"},
	{"twos takes the greater load", "sched/twos.go",
		"if b.Weight()*int32(overhead(a)) > a.Weight()*int32(overhead(b)) {", "if b.Weight()*int32(overhead(a)) < a.Weight()*int32(overhead(b)) {"},
	{"lblc never leaves a server", "sched/lblc.go",
		"rs.Weight() > 0 && !locallyOverloaded(rs, s.servers)", "rs.Weight() > 0 && (true || !locallyOverloaded(rs, s.servers))"},
	{"sh's fallback probes from the slot", "sched/sh.go", "s.table[(2*hash+k)%shSize]", "s.table[(hash+k)%shSize]"},
}

// fastLane are mistakes in what the simulation never takes, because it asks for
// the reason of every decision. The tests of the file's package notice them.
var fastLane = []defect{
	{"fast lane: wrong next-hop MAC", "director/way.go", "SetStations(y.mac, y.src)", "SetStations(y.mac^1<<40, y.src)"},
	{"fast lane: stale TTL checksum", "forward/plain.go", "put16(h[sumAt4:], ^uint16(sum+sum>>16))", "_ = sum"},
	{"fast lane: NAT pseudo-header", "forward/plain.go",
		"sum := patched(be16(field), diff+uint64", "sum := patched(be16(field), uint64"},
	{"fast lane: TTL 1 forwarded", "director/lane.go", "case p.TTL <= 1:", "case p.TTL < 1:"},
	{"fast lane: MTU not judged", "director/lane.go", " || p.IPLen() > int(y.mtu) {", " {"},
	{"fast lane: way of an old snapshot", "director/way.go", "|| y.epoch != w.lane.epoch ", ""},
	{"fast lane: SYN does not end a connection", "director/lane.go", "case p.TCPFlags&wire.FlagSYN != 0:", "case p.V6 && !p.V6:"},
	{"index: a moved word is lost", "conntrack/split.go", "		moved = w\n", "		moved = 0\n"},
	{"index: what was not moved yet is not found", "conntrack/search.go", "if !q.lastly.whole() {", "if q.size == 0 {"},
	{"index: two with one key live", "conntrack/insert.go", "if n != i && t.rival(", "if n == 0 && t.rival("},
	{"counted for another server", "director/tally.go", "a.server == rs {", "a.server != nil {"},
}
