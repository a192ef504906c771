package ipvsabi

import (
	"errors"
	"fmt"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// Errno is a Linux error number; 0 is success.
type Errno uint16

// The error numbers that the control interface answers with. They are Linux's
// on every machine this package compiles for.
const (
	EPERM        Errno = 1
	ENOENT       Errno = 2
	ESRCH        Errno = 3
	EFAULT       Errno = 14
	EBUSY        Errno = 16
	EEXIST       Errno = 17
	ENODEV       Errno = 19
	EINVAL       Errno = 22
	ERANGE       Errno = 34
	ENOPROTOOPT  Errno = 92
	EOPNOTSUPP   Errno = 95
	EAFNOSUPPORT Errno = 97
	ECONNREFUSED Errno = 111
)

// Error says which number it is.
func (e Errno) Error() string { return fmt.Sprintf("errno %d", uint16(e)) }

// errnos are the numbers of a Backend's errors.
var errnos = []struct {
	err   error
	errno Errno
}{
	{ipvsadm.ErrUnreachable, ECONNREFUSED}, // first: its cause may be anything
	{ipvs.ErrExists, EEXIST},
	{ipvs.ErrNotFound, ESRCH},
	{ipvs.ErrNoEntry, ENOENT},
	{ipvs.ErrInvalid, EINVAL},
	{ipvs.ErrRange, ERANGE},
	{ipvs.ErrPermission, EPERM},
	{ipvs.ErrFamily, EAFNOSUPPORT},
	{ipvs.ErrNoDevice, ENODEV},
	{ipvs.ErrNotReady, EOPNOTSUPP},
}

// errnoOf is the number that stands for an error of the Backend.
func errnoOf(err error) Errno {
	if err == nil {
		return 0
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	return EINVAL
}
