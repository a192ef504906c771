package api

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/control"
	"usvs/director"
	"usvs/ipvs"
	"usvs/ipvsadm"
)

// TestBatchCalls: each change arrives as its own call would, in order, at a
// backend that knows no batches.
func TestBatchCalls(t *testing.T) {
	spec, server := ipvs.ServiceSpec{Scheduler: "mh", Flags: 3, Timeout: 9, PrefixLen: 64, PE: "sip"}, theService.Servers[0]
	changes := []ipvsadm.Change{
		{Action: ipvsadm.AddService, Service: theService.ID, Spec: spec},
		{Action: ipvsadm.EditService, Service: theMark, Spec: spec},
		{Action: ipvsadm.AddServer, Service: theService.ID, Server: server.ID, ServerSpec: server.Spec},
		{Action: ipvsadm.EditServer, Service: theService.ID, Server: server.ID, ServerSpec: server.Spec},
		{Action: ipvsadm.DeleteServer, Service: theMark, Server: server.ID},
		{Action: ipvsadm.DeleteService, Service: theService.ID},
	}
	near, far := new(fake), new(fake)
	c := serve(t, far, Handlers{})
	for i := range changes {
		require.NoError(t, changes[i].Apply(near))
	}
	require.Equal(t, make([]error, len(changes)), c.Batch(changes))
	require.Equal(t, near.calls, far.calls)
	far.err = fmt.Errorf("why: %w", ipvs.ErrExists)
	for _, err := range c.Batch(append(changes, ipvsadm.Change{Action: 99})) {
		require.Error(t, err)
	}
	require.ErrorIs(t, c.Batch(changes[:1])[0], ipvs.ErrExists)
	far.err = fmt.Errorf("%w: gone", ipvsadm.ErrUnreachable)
	require.Len(t, c.Batch(changes), len(changes))
}

func TestBatchWithoutDirector(t *testing.T) {
	c := Dial(address(t))
	defer c.Close()
	errs := c.Batch(make([]ipvsadm.Change, 3))
	require.Len(t, errs, 3)
	for _, err := range errs {
		require.ErrorIs(t, err, ipvsadm.ErrUnreachable)
	}
}

// TestRestoreThroughSocket: a restore publishes a few snapshots, not one for
// each line, and says what it would without a socket in between.
func TestRestoreThroughSocket(t *testing.T) {
	published := 0
	newControl := func() *control.Control {
		return control.New(control.Config{
			Clock: clock.NewSystem(), Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry),
			Publish: func(*director.Snapshot) { published++ },
		})
	}
	var lines strings.Builder
	for i := range 500 {
		fmt.Fprintf(&lines, "-A -t 10.9.0.%d:80 -s rr\n-a -t 10.9.0.%d:80 -r 10.1.0.%d -m\n", i%200+1, i%200+1, i%250+1)
	}
	restore := func(b ipvsadm.Backend) (status int, errs string, saved string) {
		var out, stderr strings.Builder
		status = ipvsadm.Run([]string{"ipvsadm", "-R"}, b, nil, strings.NewReader(lines.String()), &out, &stderr)
		errs = stderr.String()
		require.Zero(t, ipvsadm.Run([]string{"ipvsadm", "-Sn"}, b, nil, nil, &out, &stderr))
		return status, errs, out.String()
	}
	near, far := newControl(), newControl()
	status, errs, saved := restore(near)
	require.Equal(t, 300, strings.Count(errs, "Service already exists"))
	published = 0
	farStatus, farErrs, farSaved := restore(serve(t, far, Handlers{}))
	require.Equal(t, []any{status, errs, saved}, []any{farStatus, farErrs, farSaved})
	require.Less(t, published, 10)
}
