package host

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrCapability is the error of CheckCapabilities.
var ErrCapability = errors.New("a capability is missing")

// CheckCapabilities returns an error that names each capability usvs needs in
// the current network namespace and does not have. It asks the kernel by
// trying, since a capability counts only in the user namespace that owns the
// network namespace.
func CheckCapabilities() error {
	var missing []string
	if !mayOpenPacketSocket() {
		missing = append(missing, "CAP_NET_RAW (to read and write frames)")
	}
	if !mayConfigureNetwork() {
		missing = append(missing, "CAP_NET_ADMIN (to keep the host's own stack off the virtual services)")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s. %s", ErrCapability, strings.Join(missing, " and "), capabilityAdvice())
}

func mayOpenPacketSocket() bool {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return !errors.Is(err, unix.EPERM)
	}
	unix.Close(fd)
	return true
}

// mayConfigureNetwork asks to change an interface that cannot exist. The kernel
// looks at the permission first.
func mayConfigureNetwork() bool {
	nobody := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: math.MaxInt32}}
	return !errors.Is(netlink.LinkSetUp(nobody), unix.EPERM)
}

func capabilityAdvice() string {
	if heldElsewhere() {
		return "The process holds them, but not in the user namespace that owns this network namespace: " +
			"make the network namespace together with the user namespace (unshare -Urn), or run outside of it"
	}
	exe, err := os.Executable()
	if err != nil {
		exe = "usvs"
	}
	return "Run as root, or give them to the program: setcap cap_net_admin,cap_net_raw+ep " + exe +
		"; systemd: AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW; docker and podman: --cap-add NET_ADMIN --cap-add NET_RAW"
}

// heldElsewhere reports whether the thread's effective set has both.
func heldElsewhere() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return false
	}
	const need = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
	return data[0].Effective&need == need
}
