package probe

import (
	"context"

	"usvs/health"
	"usvs/health/dialog"
	"usvs/script"
)

// runs is MISC_CHECK: what its exit status means is for health to say. That
// it could not be run says nothing about the server.
func runs(ctx context.Context, p *health.Probe, policy script.Policy) health.Result {
	if p.Script == nil {
		return localError(dialog.ErrUnsupported)
	}
	prog, err := policy.Prepare(script.Command{Args: p.Script.Args, User: p.Script.User, Group: p.Script.Group})
	if err != nil {
		return localError(err)
	}
	exit := prog.Run(ctx, script.Options{Limit: p.Timeout, Output: true, Bound: true})
	if exit.Err != nil {
		return localError(exit.Err)
	}
	r := health.Result{Status: exit.Status, Signal: int(exit.Signal)}
	if !exit.OK() {
		r.Outcome, r.Reason, r.Cause = health.Failure, exit.String(), exit.Output
	}
	if exit.TimedOut && exit.Signal == 0 {
		r.Status = 1 // whatever it said on its way out
	}
	return r
}
