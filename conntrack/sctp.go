package conntrack

import "encoding/binary"

// States of an SCTP association (ipvs.md 3.4).
const (
	SCTPNone uint8 = iota
	SCTPInit1
	SCTPInit
	SCTPCookieSent
	SCTPCookieReplied
	SCTPCookieWait
	SCTPCookie
	SCTPCookieEchoed
	SCTPEstablished
	SCTPShutdownSent
	SCTPShutdownReceived
	SCTPShutdownACKSent
	SCTPRejected
	SCTPClosed
)

// Events of SCTP, in the order of the tables' rows.
const (
	sctpData = firstSCTP + iota
	sctpInit
	sctpInitACK
	sctpCookieEcho
	sctpCookieACK
	sctpShutdown
	sctpShutdownACK
	sctpShutdownComplete
	sctpError
	sctpAbort
)

// sctpChunks are the events of chunk types (RFC 9260, 3.2); all others count
// as DATA.
var sctpChunks = [...]Event{
	0: sctpData, 1: sctpInit, 2: sctpInitACK, 3: sctpData, 4: sctpData, 5: sctpData, 6: sctpAbort,
	7: sctpShutdown, 8: sctpShutdownACK, 9: sctpError, 10: sctpCookieEcho, 11: sctpCookieACK,
	12: sctpData, 13: sctpData, 14: sctpShutdownComplete,
}

func sctpChunk(kind byte) Event {
	if int(kind) < len(sctpChunks) {
		return sctpChunks[kind]
	}
	return sctpData
}

const sctpChunkHeader = 4

// SCTPEvent is the event of a packet with these chunks: the first one's, but
// an ABORT that follows a COOKIE-ECHO or COOKIE-ACK counts (ipvs.md 3.4).
func SCTPEvent(chunks []byte) Event {
	if len(chunks) < sctpChunkHeader {
		return EventNone
	}
	ev := sctpChunk(chunks[0])
	if ev != sctpCookieEcho && ev != sctpCookieACK {
		return ev
	}
	length := int(binary.BigEndian.Uint16(chunks[2:]))
	second := (length + 3) &^ 3
	if length >= sctpChunkHeader && second+sctpChunkHeader <= len(chunks) && sctpChunk(chunks[second]) == sctpAbort {
		return sctpAbort
	}
	return ev
}

var sctpNames = []string{"NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED",
	"ESTABLISHED", "S-SENT", "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED"}

var sctpTimeouts = [maxStates]uint8{
	SCTPNone: 2, SCTPInit1: 4, SCTPInit: 61, SCTPCookieSent: 61, SCTPCookieReplied: 61,
	SCTPCookieWait: 61, SCTPCookie: 61, SCTPCookieEchoed: 61, SCTPShutdownSent: 61,
	SCTPShutdownReceived: 61, SCTPShutdownACKSent: 61, SCTPRejected: 4, SCTPClosed: 61,
}

// sctpMachine holds the transitions, columns in the order of the states.
var sctpMachine = func() machine {
	const (
		no = SCTPNone
		i1 = SCTPInit1
		in = SCTPInit
		cs = SCTPCookieSent
		cr = SCTPCookieReplied
		cw = SCTPCookieWait
		co = SCTPCookie
		ce = SCTPCookieEchoed
		es = SCTPEstablished
		ss = SCTPShutdownSent
		sr = SCTPShutdownReceived
		sa = SCTPShutdownACKSent
		rj = SCTPRejected
		cl = SCTPClosed
	)
	m := machine{
		first: sctpData, last: sctpAbort, active: [maxStates]bool{SCTPEstablished: true},
		timeout: sctpTimeouts, names: sctpNames,
		cells: [vias][maxEvents]row{
			viaInput: {
				{es, i1, in, cs, cr, cw, co, ce, es, ss, sr, sa, rj, cl}, // DATA
				{i1, in, in, cs, cr, cw, co, ce, es, ss, sr, sa, in, in}, // INIT
				{cw, cw, cw, cs, cr, co, co, ce, es, ss, sr, sa, rj, cl}, // INIT-ACK
				{cr, in, in, cr, cr, cw, co, ce, es, ss, sr, sa, rj, cl}, // COOKIE-ECHO
				{es, i1, in, cs, cr, cw, co, es, es, ss, sr, sa, rj, cl}, // COOKIE-ACK
				{sr, i1, in, cs, cr, cw, co, ce, sr, ss, sr, sa, rj, cl}, // SHUTDOWN
				{cl, in, in, cs, cr, cw, co, ce, es, cl, sr, cl, rj, cl}, // SHUTDOWN-ACK
				{cl, cl, cl, cs, cr, cw, co, ce, es, ss, sr, cl, rj, cl}, // SHUTDOWN-COMPLETE
				{cl, i1, in, cs, cr, cw, co, cl, es, ss, sr, sa, rj, cl}, // ERROR
				{cl, cl, cl, cl, cl, rj, cl, cl, cl, cl, cl, cl, cl, cl}, // ABORT
			},
			viaOutput: {
				{es, i1, in, cs, cr, cw, co, ce, es, ss, sr, sa, rj, cl}, // DATA
				{cw, cw, cw, cw, cw, cw, cw, cw, es, cw, cw, cw, cw, cw}, // INIT
				{cs, cs, cs, cs, cr, cw, co, ce, es, ss, sr, sa, rj, cl}, // INIT-ACK
				{ce, ce, ce, ce, ce, ce, ce, ce, es, ss, sr, sa, rj, cl}, // COOKIE-ECHO
				{es, es, es, es, es, es, es, es, es, ss, sr, sa, rj, cl}, // COOKIE-ACK
				{ss, ss, ss, ss, ss, ss, ss, ss, ss, ss, sr, sa, rj, cl}, // SHUTDOWN
				{sa, sa, sa, sa, sa, cw, co, ce, es, sa, sa, sa, rj, cl}, // SHUTDOWN-ACK
				{cl, i1, in, cs, cr, cw, co, ce, es, ss, sr, sa, rj, cl}, // SHUTDOWN-COMPLETE
				{cl, cl, cl, cl, cl, cw, co, ce, es, ss, sr, sa, rj, cl}, // ERROR
				{cl, rj, cl, cl, cl, cl, cl, cl, cl, cl, cl, cl, cl, cl}, // ABORT
			},
			viaInputOnly: {
				{es, i1, in, cs, cr, es, co, ce, es, ss, sr, sa, rj, cl}, // DATA
				{i1, in, in, in, in, in, co, ce, es, ss, sr, sa, in, in}, // INIT
				{ce, ce, ce, ce, ce, ce, co, ce, es, ss, sr, sa, rj, cl}, // INIT-ACK
				{es, es, es, es, es, es, co, ce, es, ss, sr, sa, rj, cl}, // COOKIE-ECHO
				{es, i1, in, es, es, cw, es, es, es, ss, sr, sa, rj, cl}, // COOKIE-ACK
				{sr, i1, in, cs, cr, cw, co, ce, sr, ss, sr, sa, rj, cl}, // SHUTDOWN
				{cl, in, in, cs, cr, cw, co, ce, cl, cl, sr, cl, rj, cl}, // SHUTDOWN-ACK
				{cl, cl, cl, cl, cl, cw, co, ce, es, ss, cl, cl, rj, cl}, // SHUTDOWN-COMPLETE
				{cl, i1, in, cs, cr, cw, co, ce, es, ss, sr, sa, rj, cl}, // ERROR
				{cl, cl, cl, cl, cl, rj, cl, cl, cl, cl, cl, cl, cl, cl}, // ABORT
			},
		},
	}
	return m
}()
