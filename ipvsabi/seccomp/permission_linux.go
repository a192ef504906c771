package seccomp

import (
	"os"

	"golang.org/x/sys/unix"
)

// maxNesting is how deep user namespaces may be nested (user_namespaces(7)).
const maxNesting = 33

// mayAdminister reports whether the caller has CAP_NET_ADMIN in the user
// namespace that owns a network namespace, as ns_capable has it: the capability
// counts in the caller's own user namespace and all below it, and the user who
// made a user namespace has every capability there.
//
// An owner that we may not see is an ancestor of our own user namespace. Nobody
// whom we start has capabilities there.
func (c *caller) mayAdminister(ns *namespace) bool {
	s, err := readStatus(c.tid)
	if err != nil {
		return false
	}
	own, err := identifyPath(c.proc("ns/user"))
	if err != nil {
		return false
	}
	owner, err := unix.IoctlRetInt(ns.fd, unix.NS_GET_USERNS)
	for range maxNesting {
		if err != nil {
			return false
		}
		id, same := identify(owner)
		if same == nil && id == own {
			unix.Close(owner)
			return s.capabilities&(1<<unix.CAP_NET_ADMIN) != 0 && c.stillWaits()
		}
		parent, up := unix.IoctlRetInt(owner, unix.NS_GET_PARENT)
		made := up == nil && ownsBelow(owner, parent, own, s.uid)
		unix.Close(owner)
		if made {
			unix.Close(parent)
			return c.stillWaits()
		}
		owner, err = parent, up
	}
	unix.Close(owner)
	return false
}

// ownsBelow reports whether a user of namespace own made the namespace child,
// whose parent that is.
func ownsBelow(child, parent int, own namespaceID, uid uint32) bool {
	id, err := identify(parent)
	if err != nil || id != own {
		return false
	}
	maker, err := unix.IoctlGetUint32(child, unix.NS_GET_OWNER_UID)
	return err == nil && maker == uid
}

func identifyPath(path string) (namespaceID, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return namespaceID{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return identify(fd)
}
