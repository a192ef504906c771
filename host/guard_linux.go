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
	"time"

	"golang.org/x/sys/unix"

	"usvs/iproute"
	"usvs/wire"
)

// GuardCommand is the name of the command that has to call RunGuard.
const GuardCommand = "guard"

// guardPatience is how long a guard may take to hear of an address.
const guardPatience = 50 * time.Millisecond

// guardGrace is how long a guard may take to end.
const guardGrace = 2 * time.Second

// guardPause is how long a guard that ended stays away: longer and longer, up to
// guardPauseMost, while none lives for that long.
const (
	guardPause     = time.Second
	guardPauseMost = time.Minute
)

// Farewell is a packet that tells the other directors that this one is gone.
type Farewell struct {
	Interface string
	Packet    []byte // complete; its destination says which socket it needs
}

// guardLine tells the guard that an address or a route is ours from now on, or no longer,
// or what is to be sent at the end instead of what had that name before.
type guardLine struct {
	Ours      bool           `json:",omitempty"`
	Address   *Address       `json:",omitempty"`
	Route     *iproute.Route `json:",omitempty"`
	Name      string         `json:",omitempty"`
	Farewells []Farewell     `json:",omitempty"`
}

// duty is what there is to do at the end.
type duty struct {
	ours      map[Address]bool
	routes    map[string]iproute.Route // by their words
	farewells map[string][]Farewell
}

func newDuty() *duty {
	return &duty{map[Address]bool{}, map[string]iproute.Route{}, map[string][]Farewell{}}
}

func (d *duty) learn(line guardLine) {
	switch {
	case line.Address != nil && line.Ours:
		d.ours[*line.Address] = true
	case line.Address != nil:
		delete(d.ours, *line.Address)
	case line.Route != nil && line.Ours:
		d.routes[line.Route.String()] = *line.Route
	case line.Route != nil:
		delete(d.routes, line.Route.String())
	case len(line.Farewells) > 0:
		d.farewells[line.Name] = line.Farewells
	default:
		delete(d.farewells, line.Name)
	}
}

// lines are what somebody has to be told who knows nothing.
func (d *duty) lines() (text []byte, err error) {
	add := func(line guardLine) {
		one, lineErr := json.Marshal(line)
		text, err = append(append(text, one...), '\n'), errors.Join(err, lineErr)
	}
	for a := range d.ours {
		add(guardLine{Ours: true, Address: &a})
	}
	for _, r := range d.routes {
		add(guardLine{Ours: true, Route: &r})
	}
	for name, list := range d.farewells {
		add(guardLine{Name: name, Farewells: list})
	}
	return text, err
}

// learnAll learns lines until there are no more.
func learnAll(in io.Reader) *duty {
	owed := newDuty()
	for d := json.NewDecoder(in); ; {
		var line guardLine
		if err := d.Decode(&line); err != nil {
			return owed
		}
		owed.learn(line)
	}
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

// startGuard starts a process of this program in the network namespace, which
// knows its duty from a file: a pipe may be too small.
func startGuard(d *duty) (*guard, error) {
	known, err := memoryFile(d.lines())
	if err != nil {
		return nil, fmt.Errorf("guard of addresses: %w", err)
	}
	defer known.Close()
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("guard of addresses: %w", err)
	}
	defer in.Close()
	cmd := exec.Command("/proc/self/exe", GuardCommand)
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = in, os.Stderr, []*os.File{known}
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

// memoryFile is a file with a text, without a name anywhere.
func memoryFile(text []byte, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	const name = "usvs-guard"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL) // a must where vm.memfd_noexec is 2
	if errors.Is(err, unix.EINVAL) {                                         // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(text); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// tell does not wait for a guard that hangs: it is replaced by another.
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
		_ = g.process.Kill()
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

// Guard starts a process of this program that takes the addresses off, and sends
// what Farewell left, when this one dies before it could; and another one if that
// is killed. The program must call RunGuard when it is run as GuardCommand.
func (a *Addresses) Guard() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, err := startGuard(a.duty)
	if err != nil {
		return err
	}
	a.guard = g
	a.guards.Go(func() { a.keepGuard(g) })
	return nil
}

// keepGuard replaces the guard whenever it ends. A guard that cannot be started is
// one that ends at once.
func (a *Addresses) keepGuard(g *guard) {
	var next guardReturn
	failing := false
	for began := time.Now(); ; {
		select {
		case <-g.done:
		case <-a.stop:
			return
		}
		pause, news := next.after(time.Since(began))
		if news {
			slog.Warn("host: the guard of the virtual addresses has ended; another one is started, and later if that ends soon, too")
		}
		if sleep(a.stop, pause) {
			return
		}
		began = time.Now()
		var err error
		if g, err = a.replaceGuard(g); err != nil && !failing {
			slog.Warn("host: virtual addresses stay on the interfaces if usvs is killed", "err", err)
		}
		failing = err != nil
	}
}

// guardReturn is how long the next guard waits.
type guardReturn struct{ pause time.Duration }

// after is the pause after a guard that lived so long, and whether its end is news:
// not if the one before had ended as soon.
func (r *guardReturn) after(lived time.Duration) (pause time.Duration, news bool) {
	news = r.pause == 0 || lived >= guardPauseMost
	r.pause = min(2*r.pause, guardPauseMost)
	if news {
		r.pause = guardPause
	}
	return r.pause, news
}

// replaceGuard returns the new guard, or the old one.
func (a *Addresses) replaceGuard(old *guard) (*guard, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, err := startGuard(a.duty)
	if err != nil {
		return old, err
	}
	old.pipe.Close()
	a.guard = g
	return g, nil
}

// tellGuardLocked has the guard, and the next one, know.
func (a *Addresses) tellGuardLocked(line guardLine) {
	a.duty.learn(line)
	a.guard.tell(line)
}

// Farewell leaves packets with the Guard, to be sent if this process dies, instead
// of those of that name before; without packets there are none any more.
func (a *Addresses) Farewell(name string, list []Farewell) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tellGuardLocked(guardLine{Name: name, Farewells: list})
}

// guardKnows is the file in which a guard reads what it starts with.
const guardKnows = 3

// RunGuard is the guard's life: it follows what it is told by its standard input,
// and when that ends says farewell and takes off what is still there. Nothing but
// that, or SIGKILL, ends it.
func RunGuard() error {
	known := os.NewFile(guardKnows, "known")
	defer known.Close()
	return runGuard(io.MultiReader(known, os.Stdin))
}

func runGuard(in io.Reader) error {
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)
	owed := learnAll(in)
	var errs []error
	for _, list := range owed.farewells {
		for _, f := range list {
			errs = append(errs, f.send())
		}
	}
	return errors.Join(append(errs, takeOff(owed))...)
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

// takeOff removes routes before the addresses that they may need.
func takeOff(owed *duty) error {
	if len(owed.ours)+len(owed.routes) == 0 {
		return nil
	}
	addresses, err := NewAddresses(func(Address) {})
	if err != nil {
		return err
	}
	defer addresses.Close()
	var errs []error
	for _, r := range owed.routes {
		_, err := addresses.RemoveRoute(r)
		errs = append(errs, err)
	}
	for a := range owed.ours {
		_, err := addresses.Remove(a)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
