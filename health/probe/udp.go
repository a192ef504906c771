package probe

import (
	"context"
	"errors"
	"fmt"

	"usvs/health"
)

// filler is what is sent if the configuration does not say.
const filler = "usvs looks whether this port is "

var (
	errReply   = errors.New("the reply is not the one that is asked for")
	errNoReply = errors.New("there was no reply")
)

// takesDatagram is UDP_CHECK: no ICMP error comes within the timeout or, if
// that is asked for, the right reply does.
func takesDatagram(ctx context.Context, dial Dial, p *health.Probe) health.Result {
	exchange := health.UDPExchange{}
	if p.UDP != nil {
		exchange = *p.UDP
	}
	if exchange.Payload == nil {
		exchange.Payload = []byte(filler)
	}
	c, err := dial.open(ctx, "udp", p)
	if err != nil {
		return notConnected(err, "timeout", "failed")
	}
	defer c.Close()
	if _, err := c.Write(exchange.Payload); err != nil {
		return failure("failed", err)
	}
	buf := make([]byte, replyBuffer(&exchange))
	n, err := c.Read(buf)
	switch {
	case isTimeout(err) && exchange.RequireReply:
		return failure("failed", errNoReply)
	case isTimeout(err):
		return success
	case err != nil:
		return failure("failed", err)
	}
	if err := rightReply(buf[:n], &exchange); err != nil {
		return failure("failed", err)
	}
	return success
}

// replyBuffer is as much of a reply as tells whether it is right, in bytes:
// thousands of checks wait at once.
func replyBuffer(x *health.UDPExchange) int {
	if !x.RequireReply {
		return 1
	}
	return min(max(x.MaxReply, len(x.Reply))+1, 64<<10)
}

// rightReply compares a reply with the one that is asked for.
func rightReply(reply []byte, x *health.UDPExchange) error {
	if !x.RequireReply {
		return nil
	}
	if n := len(reply); n < x.MinReply || n > x.MaxReply {
		return fmt.Errorf("the reply has %d bytes", n)
	}
	if !x.Accepts(reply) {
		return errReply
	}
	return nil
}
