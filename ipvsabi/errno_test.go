package ipvsabi

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

var errUnreachable = fmt.Errorf("%w: %w", ipvsadm.ErrUnreachable, ipvs.ErrPermission)

var backendErrors = []struct {
	err   error
	errno Errno
}{
	{fmt.Errorf("add service: %w", ipvs.ErrExists), EEXIST},
	{ipvs.ErrNotFound, ESRCH},
	{fmt.Errorf("add service: scheduler %q: %w", "x", ipvs.ErrNoEntry), ENOENT},
	{ipvs.ErrInvalid, EINVAL},
	{ipvs.ErrRange, ERANGE},
	{ipvs.ErrPermission, EPERM},
	{ipvs.ErrFamily, EAFNOSUPPORT},
	{ipvs.ErrNoDevice, ENODEV},
	{ipvs.ErrNotReady, EOPNOTSUPP},
	{errUnreachable, ECONNREFUSED},
	{errors.New("anything else"), EINVAL},
}

func TestErrnoOf(t *testing.T) {
	require.Zero(t, errnoOf(nil))
	for _, c := range backendErrors {
		require.Equal(t, c.errno, errnoOf(c.err), c.err)
	}
	require.EqualError(t, ECONNREFUSED, "errno 111")
}
