// Package tcp is the TCP of simulated hosts: RFC 9293 as a state machine
// driven by events. Segments and the time come in by calls, segments go out
// through one function, applications are called back.
//
// It has active, passive and simultaneous opens and closes, the rules for
// resets with the challenge ACKs of RFC 5961, the MSS option, flow control with
// zero-window probes, retransmission by RFC 6298, fast retransmit and NewReno
// (RFC 5681, 6582), bounded reassembly, keep-alive, path MTU changes and
// TIME-WAIT. It has no window scaling, SACK, timestamps, urgent data, Nagle's
// algorithm or delayed ACKs: an acknowledgement leaves with the data that the
// application answers with, or else at once.
//
// It reads no clock, starts no goroutine, logs nothing and draws no random
// number: initial sequence numbers are asked of the caller. What it does is a
// function of its calls, so a run repeats bit for bit. A Stack belongs to one
// goroutine at a time.
//
// # Invariants
//
//   - una <= nxt <= max and una <= end of the send queue (+1 for a FIN), in
//     sequence space: what max says has been sent may be acknowledged, and nxt
//     falls back to una when a timer says that all of it is to go again.
//   - The right edge of the receive window never moves left, and what lies
//     before it always fits the receive queue.
//   - A connection is in the stack's map exactly while its state is not Closed,
//     and in the timer heap exactly while a timer of its runs.
//   - Callbacks run when the segment or timer that caused them is wholly
//     processed: they may call anything, on this or another connection.
package tcp
