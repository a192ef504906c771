package dialog

import (
	"errors"
	"fmt"

	"usvs/health"
)

// filler is what is sent if the configuration does not say.
const filler = "usvs looks whether this port is "

var (
	errReply   = errors.New("the reply is not the one that is asked for")
	errNoReply = errors.New("there was no reply")
	udpWords   = wording{Connecting: {"timeout", "failed"}, Writing: {"failed", "failed"}, Reading: {"failed", "failed"}}
)

// exchange is UDP_CHECK: no ICMP error comes within the timeout or, if that is
// asked for, the right reply does.
type exchange struct {
	*wording
	health.UDPExchange
}

func newExchange(x *health.UDPExchange) Dialog {
	e := &exchange{wording: &udpWords}
	if x != nil {
		e.UDPExchange = *x
	}
	if e.Payload == nil {
		e.Payload = []byte(filler)
	}
	return e
}

func (e *exchange) Begin() Move { return Move{Say: e.Payload} }

// Take compares a reply with the one that is asked for.
func (e *exchange) Take(b []byte) Move {
	n := len(b)
	switch {
	case !e.RequireReply:
		return over(success)
	case n < e.MinReply || n > e.MaxReply:
		return over(e.Fail(Reading, fmt.Errorf("the reply has %d bytes", n)))
	case !e.accepts(b):
		return over(e.Fail(Reading, errReply))
	}
	return over(success)
}

// accepts reports whether a reply begins as is asked for.
func (e *exchange) accepts(reply []byte) bool {
	if len(reply) < len(e.Reply) {
		return false
	}
	for i, want := range e.Reply {
		mask := byte(0xff)
		if i < len(e.ReplyMask) {
			mask = e.ReplyMask[i]
		}
		if (reply[i]^want)&mask != 0 {
			return false
		}
	}
	return true
}

// Fail heeds that silence is well if no reply is asked for.
func (e *exchange) Fail(at Stage, err error) health.Result {
	switch {
	case at == Reading && err == nil && !e.RequireReply:
		return success
	case at == Reading && err == nil:
		err = errNoReply
	}
	return e.wording.Fail(at, err)
}
