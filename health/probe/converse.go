package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"usvs/health"
	"usvs/health/dialog"
)

// converse connects to a server and moves the bytes of a dialogue.
func converse(ctx context.Context, dial Dial, p *health.Probe, d dialog.Dialog) health.Result {
	c, err := dial.open(ctx, p)
	if err != nil {
		return notConnected(p, d, err)
	}
	defer c.Close()
	if p.Kind != health.SSL {
		return exchange(c, p, d)
	}
	config, err := tlsConfig(p)
	if err != nil {
		return localError(err)
	}
	secure, err := c.secured(config)
	if err != nil {
		return broken(p, d, dialog.Securing, err)
	}
	return exchange(secure, p, d)
}

// exchange is the dialogue over a connection.
func exchange(c io.ReadWriter, p *health.Probe, d dialog.Dialog) health.Result {
	var buf []byte
	for move := d.Begin(); ; {
		if len(move.Say) > 0 {
			if _, err := c.Write(move.Say); err != nil {
				return broken(p, d, dialog.Writing, err)
			}
		}
		if move.Done {
			return move.Result
		}
		if buf == nil {
			buf = make([]byte, dialog.BufferSize(p))
		}
		n, err := c.Read(buf)
		switch {
		case n > 0 || err == nil: // an error is there again next time
			move = d.Take(buf[:n])
		case err == io.EOF:
			return d.End()
		default:
			return broken(p, d, dialog.Reading, err)
		}
	}
}

// notConnected is the result of an attempt to connect that failed.
func notConnected(p *health.Probe, d dialog.Dialog, err error) health.Result {
	if isLocal(err) {
		return localError(err)
	}
	return broken(p, d, dialog.Connecting, err)
}

// broken is the result of an error of the host's. DNS_CHECK tells its number.
func broken(p *health.Probe, d dialog.Dialog, at dialog.Stage, err error) health.Result {
	var errno syscall.Errno
	switch {
	case isTimeout(err):
		return d.Fail(at, nil)
	case p.Kind == health.DNS && errors.As(err, &errno):
		words := errno.Error()
		return d.Fail(at, fmt.Errorf("errno %d (%s)", int(errno), strings.ToUpper(words[:1])+words[1:]))
	}
	return d.Fail(at, cause(err))
}
