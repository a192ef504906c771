package ipvs

import "errors"

// Sentinel errors of the control plane. Each stands for the errno with which
// the kernel answers the same request.
var (
	ErrExists     = errors.New("already exists")             // EEXIST
	ErrNotFound   = errors.New("no such service")            // ESRCH
	ErrNoEntry    = errors.New("no such entry")              // ENOENT: scheduler, engine or destination
	ErrInvalid    = errors.New("invalid request")            // EINVAL
	ErrRange      = errors.New("value out of range")         // ERANGE
	ErrPermission = errors.New("permission denied")          // EPERM
	ErrFamily     = errors.New("unsupported address family") // EAFNOSUPPORT
	ErrNoDevice   = errors.New("no such device")             // ENODEV
	ErrNotReady   = errors.New("not available in this usvs") // ours: a request this build cannot carry out
)
