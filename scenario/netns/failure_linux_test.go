package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/scenario"
)

func TestFailure(t *testing.T) {
	for want, errs := range map[scenario.Failure][]error{
		scenario.Refused:     {unix.ECONNREFUSED, &net.OpError{Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}},
		scenario.Timeout:     {context.DeadlineExceeded, os.ErrDeadlineExceeded, unix.ETIMEDOUT},
		scenario.Unreachable: {unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EACCES},
		scenario.Reset:       {unix.ECONNRESET, io.EOF, io.ErrUnexpectedEOF, errGone, unix.EPIPE},
	} {
		for _, err := range errs {
			require.Equal(t, want, failure(fmt.Errorf("wrapped: %w", err)), "%v", err)
		}
	}
}

func TestWorldIPVSSaysWhatIsMissing(t *testing.T) {
	err := findIPVS()
	if err == nil {
		t.Skip("this machine has ip_vs and ipvsadm")
	}
	require.True(t, errors.Is(err, scenario.ErrUnsupported))
	require.Contains(t, err.Error(), "ip")
}

func TestCommandsByWorld(t *testing.T) {
	for _, tc := range []struct {
		line           string
		ours, kernelIs bool // this program's in netns, in ipvs
		args           int
	}{
		{"ipvsadm -Ln", true, false, 3},
		{"ipvsadm-save -n", true, false, 2},
		{"iptables -t mangle -F", true, false, 5},
		{"usvs ipvsadm -Ln", true, false, 3},
		{"usvs realserver up --vip 10.0.0.1", true, true, 5},
		{"ip addr", false, false, 2},
		{"sysctl -w a=1", false, false, 3},
	} {
		words, err := split(tc.line)
		require.NoError(t, err)
		cmd := (&World{}).command(words)
		require.Equal(t, tc.ours, isSelf(cmd.Path), tc.line)
		require.Len(t, cmd.Args, tc.args, tc.line)
		require.Equal(t, tc.kernelIs, isSelf((&World{kernel: true}).command(words).Path), tc.line)
	}
}

func isSelf(path string) bool { return path == "/proc/self/exe" }
