package probe

import (
	"context"

	"usvs/health"
)

// connects is TCP_CHECK: a connection comes about.
func connects(ctx context.Context, dial Dial, p *health.Probe) health.Result {
	c, err := dial.open(ctx, "tcp", p)
	if err != nil {
		return notConnected(err, "timeout", "failed")
	}
	c.Close()
	return success
}

// notConnected is the result of an attempt to connect that failed.
func notConnected(err error, timeout, failed string) health.Result {
	switch {
	case isLocal(err):
		return localError(err)
	case isTimeout(err):
		return failure(timeout, nil)
	}
	return failure(failed, err)
}
