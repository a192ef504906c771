package api

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/sysctl"
)

// sysctl(8) cannot tell whether the settings are at the other end of a socket.
func TestSysctlThroughSocket(t *testing.T) {
	near, far := ipvs.DefaultSysctls(), ipvs.DefaultSysctls()
	remote := serve(t, new(fake), Handlers{Settings: &far})
	for _, line := range []string{
		"-a", "net.ipv4.vs.drop_entry", "-w net.ipv4.vs.drop_entry=3", "net.ipv4.vs.drop_entry", "net.ipv4.vs.drop_entry=4",
		"net.ipv4.vs.nosuch", "-w net.ipv4.vs.nosuch=1", "net.ipv4.vs.sync_threshold=7", "-n net.ipv4.vs.sync_threshold",
	} {
		run := func(s sysctl.Settings) [3]any {
			var stdout, stderr bytes.Buffer
			status := sysctl.Run(strings.Fields(line), s, &stdout, &stderr)
			return [3]any{status, stdout.String(), stderr.String()}
		}
		require.Equal(t, run(&near), run(remote), line)
	}
	require.Equal(t, near, far)
}

func TestSysctlErrors(t *testing.T) {
	s := ipvs.DefaultSysctls()
	remote := serve(t, new(fake), Handlers{Settings: &s})
	_, err := remote.Sysctl("nosuch")
	require.ErrorIs(t, err, ipvs.ErrNoEntry)
	require.ErrorIs(t, remote.SetSysctl("nosuch", "1"), ipvs.ErrNoEntry)
	err = remote.SetSysctl("drop_entry", "9")
	require.ErrorIs(t, err, ipvs.ErrInvalid)
	require.ErrorContains(t, err, "0 to 3")

	without := serve(t, new(fake), Handlers{})
	_, err = without.Sysctl("drop_entry")
	require.ErrorIs(t, err, ipvs.ErrNotReady)
	require.ErrorIs(t, without.SetSysctl("drop_entry", "1"), ipvs.ErrNotReady)
}

func TestSysctlBodies(t *testing.T) {
	s := ipvs.DefaultSysctls()
	h := newHandler(new(fake), Handlers{Settings: &s})
	for body, want := range map[string]int{
		`{"name":"sloppy_tcp","value":"1"}`: http.StatusOK,
		`{"name":"sloppy_tcp","value":1}`:   http.StatusBadRequest,
		`{"name":"sloppy_tcp"}`:             http.StatusBadRequest,
		`{}`:                                http.StatusNotFound,
		`{"other":1}`:                       http.StatusBadRequest,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("PUT", "/v1/sysctl", strings.NewReader(body)))
		require.Equal(t, want, w.Code, body)
	}
	require.Equal(t, 1, s.SloppyTCP)
}
