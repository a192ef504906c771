package seccomp

import (
	"encoding/json"
	"errors"
	"io"

	"usvs/api"
	"usvs/ipvsabi"
)

// Director is who answers for the kernel's IPVS in one network namespace.
type Director interface {
	// Reach says why there is nobody, api.ErrNoDirector or another error.
	Reach() error
	// OwnsServices reports whether the director answers for the addresses of
	// all services, also of those that no interface carries.
	OwnsServices() bool

	Netlink(datagram []byte, port uint32, admin bool) (replies [][]byte, handled bool)
	GetOption(name int, in []byte, admin bool) (out []byte, errno ipvsabi.Errno)
	SetOption(name int, arg []byte, admin bool) ipvsabi.Errno

	WriteProc(w io.Writer, name string) error
	Sysctl(name string) (string, error)
	SetSysctl(name, value string) error

	Close()
}

// Enter calls a function on a thread that is in some network namespace.
type Enter func(f func() error) error

// Connect returns a Config.Connect for the directors whose control socket is at
// address, in the caller's namespace if it is an abstract one.
func Connect(address string) func(Enter) Director {
	return func(enter Enter) Director {
		client := api.DialIn(address, enter)
		return &remote{client, ipvsabi.NewServer(client)}
	}
}

// remote is a running director.
type remote struct {
	*api.Client
	*ipvsabi.Server
}

func (r *remote) Reach() error {
	_, err := r.Info()
	return err
}

// OwnsServices is false if the director does not say.
func (r *remote) OwnsServices() bool {
	raw, err := r.Status()
	var groups struct {
		Ownership map[string]uint64 `json:"ownership"`
	}
	return err == nil && json.Unmarshal(raw, &groups) == nil && groups.Ownership["services"] > 0
}

// present reports whether there is a director, and complains once if not.
func (c *caller) present(ns *namespace) bool {
	err := ns.director.Reach()
	if err == nil {
		c.warn(ns)
		return true
	}
	key := "director " + ns.name()
	if errors.Is(err, api.ErrNoDirector) {
		c.complain(key, "no director runs in the network namespace of %s (process %d, %s), which finds no IPVS there: start `usvs run -i INTERFACE`, or use --start", c.name(), c.tid, ns.name())
		return false
	}
	c.complain(key, "%s (process %d, %s) finds no IPVS: %v", c.name(), c.tid, ns.name(), err)
	return false
}

// warn says what goes wrong when keepalived moves addresses that the director
// answers for in any case.
func (c *caller) warn(ns *namespace) {
	if c.name() == "keepalived" && c.once("ownership "+ns.name()) && ns.director.OwnsServices() {
		c.say("WARNING: this director answers for the addresses of all virtual services, also while keepalived's VRRP is in state BACKUP: " +
			"start it with `usvs run --own host`, so that it owns an address only while keepalived has it on an interface")
	}
}
