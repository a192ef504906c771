package api

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/control"
	"usvs/ipvs"
	"usvs/procnet"
)

// The files of /proc/net are the same on both sides of the socket, however
// long they are.
func TestProcThroughSocket(t *testing.T) {
	c := control.New(control.Config{Clock: clock.NewSystem(), Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry)})
	require.NoError(t, c.AddService(ipvs.ServiceID{Family: ipvs.IPv4, Mark: 7}, ipvs.ServiceSpec{Scheduler: "rr"}))
	long := strings.Repeat("a line with \"quotes\"\n", 10_000)
	client := serve(t, c, Handlers{Proc: func(w io.Writer, name string) error {
		if name == "long" {
			_, err := io.WriteString(w, long)
			return err
		}
		return c.WriteProc(w, name)
	}})
	for _, name := range procnet.Names() {
		var near, far bytes.Buffer
		require.NoError(t, c.WriteProc(&near, name))
		require.NoError(t, client.WriteProc(&far, name))
		require.Equal(t, near.String(), far.String())
	}
	var b bytes.Buffer
	require.NoError(t, client.WriteProc(&b, "long"))
	require.Equal(t, long, b.String())
	require.ErrorIs(t, client.WriteProc(&b, "no such&file=ip_vs"), ipvs.ErrNoEntry)

	full := errors.New("full")
	require.ErrorIs(t, client.WriteProc(failing{full}, "ip_vs"), full)
	without := serve(t, c, Handlers{})
	require.ErrorIs(t, without.WriteProc(&b, "ip_vs"), ipvs.ErrNotReady)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
