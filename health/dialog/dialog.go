package dialog

import (
	"errors"
	"fmt"
	"io"

	"usvs/health"
)

// Lifetime is how long an attempt may take altogether, in its timeouts: each
// step of it may take one, and a server could make the steps endless.
const Lifetime = 10

// Dialog is one attempt's. Begin comes first, then Take as often as something
// is received, until a Move is Done; End and Fail end it, too.
type Dialog interface {
	// Begin is called when the server can be spoken to.
	Begin() Move
	// Take takes the next bytes of a stream, or a datagram. It keeps none of b.
	Take(b []byte) Move
	// End is the result if the server closes the connection in order.
	End() health.Result
	// Fail is the result of an error, or, if that is nil, of a step that takes
	// too long.
	Fail(at Stage, err error) health.Result
}

// Move is what is to be done: to send Say if it is not empty, and then either
// to wait for more, or, if it is Done, to close the connection.
type Move struct {
	Say    []byte
	Done   bool
	Result health.Result
}

// Stage is how far an attempt has come.
type Stage uint8

// The stages, in order.
const (
	Connecting Stage = iota
	Securing         // the handshake of SSL_GET
	Writing
	Reading
)

// ErrUnsupported is of checks that talk to no server.
var ErrUnsupported = errors.New("no such check")

// New returns the dialogue of a probe. The id tells its DNS query from others.
// An error says nothing about the server.
func New(p *health.Probe, id uint16) (Dialog, error) {
	switch p.Kind {
	case health.TCP, health.Ping:
		return &reach{wording: &reachWords, connected: p.Kind == health.TCP}, nil
	case health.HTTP, health.SSL:
		return newWeb(p)
	case health.SMTP:
		return newMail(p), nil
	case health.DNS:
		return newQuery(p.DNS, id)
	case health.UDP:
		return newExchange(p.UDP), nil
	}
	return nil, fmt.Errorf("%w: %v", ErrUnsupported, p.Kind)
}

// streamBuffer is how much of a stream is received at once, in bytes.
const streamBuffer = 4096

// BufferSize is how much is to be received at once, in bytes: of a datagram as
// much as tells whether it is right, for thousands of checks wait at once.
func BufferSize(p *health.Probe) int {
	switch {
	case p.Kind != health.UDP:
		return streamBuffer
	case p.UDP == nil || !p.UDP.RequireReply:
		return 1
	}
	return min(max(p.UDP.MaxReply, len(p.UDP.Reply))+1, 64<<10)
}

// wording is what keepalived calls that a stage took too long, or failed.
type wording [Reading + 1]struct{ late, failed string }

// Fail is the result of most dialogues.
func (w *wording) Fail(at Stage, err error) health.Result {
	if err == nil {
		return failure(w[at].late, nil)
	}
	return failure(w[at].failed, err)
}

// End is the result of dialogues in which the server is not to end it.
func (w *wording) End() health.Result { return w.Fail(Reading, io.EOF) }

var success = health.Result{Outcome: health.Success}

// failure is what the server did wrong, in keepalived's words and, if there is
// more to say, in those of an error.
func failure(reason string, err error) health.Result {
	r := health.Result{Outcome: health.Failure, Reason: reason}
	if err != nil {
		r.Cause = err.Error()
	}
	return r
}

// over is the last move.
func over(r health.Result) Move { return Move{Done: true, Result: r} }

// reach is TCP_CHECK, for which it is enough to be connected, and PING_CHECK,
// for which any reply is.
type reach struct {
	*wording
	connected bool // is enough
}

var reachWords = wording{Connecting: {"timeout", "failed"}, Writing: {"timeout", "failed"}, Reading: {"timeout", "failed"}}

func (r *reach) Begin() Move {
	if r.connected {
		return over(success)
	}
	return Move{}
}

func (r *reach) Take([]byte) Move { return over(success) }
