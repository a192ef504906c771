package conntrack

import "usvs/wire"

// States of a TCP connection (ipvs.md 3.1).
const (
	TCPNone uint8 = iota
	TCPEstablished
	TCPSynSent
	TCPSynReceived
	TCPFinWait
	TCPTimeWait
	TCPClose
	TCPCloseWait
	TCPLastACK
	TCPListen
	TCPSynACK
)

// Events of TCP, in the order of the tables' rows.
const (
	tcpSYN = firstTCP + iota
	tcpFIN
	tcpACK
	tcpRST
	tcpNone // no such flag at all closes the connection
)

// TCPEvent is the event of a segment with these flags.
func TCPEvent(flags uint8) Event {
	switch {
	case flags&wire.FlagRST != 0:
		return tcpRST
	case flags&wire.FlagSYN != 0:
		return tcpSYN
	case flags&wire.FlagFIN != 0:
		return tcpFIN
	case flags&wire.FlagACK != 0:
		return tcpACK
	}
	return tcpNone
}

var tcpNames = []string{"NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE",
	"CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK"}

var tcpTimeouts = [maxStates]uint8{
	TCPNone: 2, TCPSynSent: 120, TCPSynReceived: 60, TCPTimeWait: 120, TCPClose: 10,
	TCPCloseWait: 60, TCPLastACK: 30, TCPListen: 120, TCPSynACK: 120,
}

var tcpActive = [maxStates]bool{TCPEstablished: true, TCPSynSent: true, TCPSynReceived: true, TCPSynACK: true}

// tcpNormal and tcpSecure are the transitions, columns in the order of the
// states: the usual ones, and those under secure_tcp.
var tcpNormal, tcpSecure = func() (normal, secure machine) {
	const (
		no = TCPNone
		es = TCPEstablished
		ss = TCPSynSent
		sr = TCPSynReceived
		fw = TCPFinWait
		tw = TCPTimeWait
		cl = TCPClose
		cw = TCPCloseWait
		la = TCPLastACK
		li = TCPListen
		sa = TCPSynACK
	)
	normal = machine{
		first: tcpSYN, last: tcpNone, active: tcpActive, timeout: tcpTimeouts, names: tcpNames,
		cells: [vias][maxEvents]row{
			viaInput: {
				{sr, es, es, sr, sr, sr, sr, sr, sr, sr, sr}, // SYN
				{cl, cw, ss, tw, tw, tw, cl, cw, la, li, tw}, // FIN
				{es, es, ss, es, fw, tw, cl, cw, cl, li, es}, // ACK
				{cl, cl, cl, sr, cl, cl, cl, cl, la, li, sr}, // RST
				{cl, cl, cl, cl, cl, cl, cl, cl, cl, cl, cl}, // none
			},
			viaOutput: {
				{ss, es, ss, sr, ss, ss, ss, ss, ss, li, sr}, // SYN
				{tw, fw, ss, tw, fw, tw, cl, tw, la, li, tw}, // FIN
				{es, es, ss, es, fw, tw, cl, cw, la, es, es}, // ACK
				{cl, cl, ss, cl, cl, tw, cl, cl, cl, cl, cl}, // RST
				{cl, cl, cl, cl, cl, cl, cl, cl, cl, cl, cl}, // none
			},
			viaInputOnly: {
				{sr, es, es, sr, sr, sr, sr, sr, sr, sr, sr}, // SYN
				{cl, fw, ss, tw, fw, tw, cl, cw, la, li, tw}, // FIN
				{es, es, ss, es, fw, tw, cl, cw, cl, li, es}, // ACK
				{cl, cl, cl, sr, cl, cl, cl, cl, la, li, cl}, // RST
				{cl, cl, cl, cl, cl, cl, cl, cl, cl, cl, cl}, // none
			},
		},
	}
	secure = normal
	secure.cells = [vias][maxEvents]row{
		viaInput: {
			{sr, es, es, sr, sr, sr, sr, sr, sr, sr, sa}, // SYN
			{cl, cw, ss, tw, tw, tw, cl, cw, la, li, sa}, // FIN
			{es, es, ss, sr, fw, tw, cl, cw, cl, li, sa}, // ACK
			{cl, cl, cl, sr, cl, cl, cl, cl, la, li, cl}, // RST
			{cl, cl, cl, cl, cl, cl, cl, cl, cl, cl, cl}, // none
		},
		viaOutput: {
			{ss, es, ss, sa, ss, ss, ss, ss, ss, li, sa}, // SYN
			{tw, fw, ss, tw, fw, tw, cl, tw, la, li, tw}, // FIN
			{es, es, ss, es, fw, tw, cl, cw, la, es, es}, // ACK
			{cl, cl, ss, cl, cl, tw, cl, cl, cl, cl, cl}, // RST
			{cl, cl, cl, cl, cl, cl, cl, cl, cl, cl, cl}, // none
		},
		viaInputOnly: {
			{sa, es, es, sr, sa, sa, sa, sa, sa, sa, sa}, // SYN
			{cl, fw, ss, tw, fw, tw, cl, cw, la, li, tw}, // FIN
			{es, es, ss, es, fw, tw, cl, cw, cl, li, es}, // ACK
			{cl, cl, cl, sr, cl, cl, cl, cl, la, li, cl}, // RST
			{cl, cl, cl, cl, cl, cl, cl, cl, cl, cl, cl}, // none
		},
	}
	return normal, secure
}()
