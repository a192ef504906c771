package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"usvs/wire"
)

// GuardCommand is the name of the command that has to call RunGuard.
const GuardCommand = "guard"

// guardPatience is how long a guard may take to hear of an address.
const guardPatience = 50 * time.Millisecond

// guardGrace is how long a guard may take to end.
const guardGrace = 2 * time.Second

// Farewell is a packet that tells the other directors that this one is gone.
type Farewell struct {
	Interface string
	Packet    []byte // complete; its destination says which socket it needs
	// Addrs are the addresses it is about: it is sent only if one of them was
	// still ours.
	Addrs []netip.Addr
}

// guardLine tells the guard that an address is ours from now on, or no longer,
// or what is to be sent at the end instead of what had that name before.
type guardLine struct {
	Ours     bool      `json:",omitempty"`
	Address  *Address  `json:",omitempty"`
	Name     string    `json:",omitempty"`
	Farewell *Farewell `json:",omitempty"`
}

// guard is a process that takes addresses off the interfaces, and tells the other
// directors, when this process dies without having done so: killed, or out of
// memory. Otherwise the host would go on answering for them, beside the director
// that takes over.
type guard struct {
	pipe    *os.File
	process *os.Process
	done    chan struct{}
	lost    bool // it cannot be told any more
}

// startGuard starts a process of this program in the network namespace.
func startGuard() (*guard, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("guard of addresses: %w", err)
	}
	defer in.Close()
	cmd := exec.Command("/proc/self/exe", GuardCommand)
	cmd.Stdin, cmd.Stderr = in, os.Stderr
	// Signals of a terminal are not for it: it is to outlive this process.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		out.Close()
		return nil, fmt.Errorf("guard of addresses: %w", err)
	}
	g := &guard{pipe: out, process: cmd.Process, done: make(chan struct{})}
	go func() {
		defer close(g.done)
		_ = cmd.Wait()
	}()
	return g, nil
}

// tell does not wait for a guard that hangs.
func (g *guard) tell(what guardLine) {
	if g == nil || g.lost {
		return
	}
	line, err := json.Marshal(what)
	if err == nil {
		_ = g.pipe.SetWriteDeadline(time.Now().Add(guardPatience))
		_, err = g.pipe.Write(append(line, '\n'))
	}
	if err != nil {
		g.lost = true
		slog.Warn("host: virtual addresses stay on the interfaces if usvs is killed", "err", err)
	}
}

// close lets the guard do its last duty, and waits for that, within bounds.
func (g *guard) close() {
	if g == nil {
		return
	}
	g.pipe.Close()
	select {
	case <-g.done:
	case <-time.After(guardGrace):
		_ = g.process.Kill()
		<-g.done
	}
}

// RunGuard is the guard's life: it follows what in says, and when that ends
// says farewell and takes off what is still there. Nothing but that, or SIGKILL,
// ends it.
func RunGuard(in io.Reader) error {
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	ours, farewells := map[Address]bool{}, map[string]*Farewell{}
	for d := json.NewDecoder(in); ; {
		var line guardLine
		if err := d.Decode(&line); err != nil {
			break
		}
		switch {
		case line.Farewell != nil:
			farewells[line.Name] = line.Farewell
		case line.Address != nil && line.Ours:
			ours[*line.Address] = true
		case line.Address != nil:
			delete(ours, *line.Address)
		}
	}
	if len(ours) == 0 {
		return nil
	}
	return errors.Join(sayFarewell(ours, farewells), takeOff(ours))
}

// sayFarewell sends what is about addresses that are still ours.
func sayFarewell(ours map[Address]bool, farewells map[string]*Farewell) error {
	have := map[netip.Addr]bool{}
	for a := range ours {
		have[a.Prefix.Addr()] = true
	}
	var errs []error
	for _, f := range farewells {
		if slices.ContainsFunc(f.Addrs, func(a netip.Addr) bool { return have[a] }) {
			errs = append(errs, f.send())
		}
	}
	return errors.Join(errs...)
}

func (f *Farewell) send() error {
	frames, err := OpenFrames()
	if err != nil {
		return err
	}
	defer frames.Close()
	sockets, err := OpenVRRP(frames, func(string, []byte) {})
	if err != nil {
		return err
	}
	defer sockets.Close()
	dst, protocol, err := addressed(f.Packet)
	if err != nil {
		return err
	}
	e := VRRPEndpoint{Interface: f.Interface, Protocol: protocol, IPv6: dst.Is6()}
	if dst.IsMulticast() {
		e.Groups = []netip.Addr{dst}
	}
	return errors.Join(sockets.Set([]VRRPEndpoint{e}), sockets.Send(f.Interface, f.Packet, wire.MAC{}))
}

func takeOff(ours map[Address]bool) error {
	addresses, err := NewAddresses(func(Address) {})
	if err != nil {
		return err
	}
	defer addresses.Close()
	var errs []error
	for a := range ours {
		_, err := addresses.Remove(a)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
