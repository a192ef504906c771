package machine

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/health"
	"usvs/health/probe"
	"usvs/host"
	"usvs/iproute"
	"usvs/node"
	"usvs/notify"
	"usvs/script"
	"usvs/track"
	"usvs/vrrp"
	"usvs/wire"
)

// world is the node.World of this machine. The loop owns it.
type world struct {
	m      *Machine
	log    *slog.Logger
	detail slog.Level

	frames    *host.Frames
	via       *byVIP // nil: no checks go by the VIP
	sockets   *host.VRRPSockets
	addresses *host.Addresses
	watcher   *host.InterfaceWatcher
	probes    *probe.Runner
	notifiers *notify.Scripts
	trackers  *track.Scripts
	files     *track.Files[string]
	processes *track.Processes
	fifos     map[string]*fifo
	mailer    *notify.Mailer

	setup      *node.Setup // as last configured
	interfaces map[string]host.Interface
	failing    map[string]string // what was logged last about sending, by interface
}

var _ node.World = (*world)(nil)

func openWorld(cfg Config, m *Machine) (w *world, err error) {
	w = &world{
		m: m, log: cfg.Log, detail: slog.LevelDebug,
		fifos: map[string]*fifo{}, interfaces: map[string]host.Interface{}, failing: map[string]string{},
	}
	if cfg.Detail {
		w.detail = slog.LevelInfo
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.frames, err = host.OpenFrames(); err != nil {
		return w, err
	}
	if w.via, err = openVia(cfg.Clock, cfg.Director, w.frames); err != nil {
		return w, err
	}
	if w.sockets, err = host.OpenVRRP(w.frames, w.received); err != nil {
		return w, err
	}
	if w.addresses, err = host.NewAddresses(w.lost); err != nil {
		return w, err
	}
	if err := w.addresses.Guard(); err != nil {
		w.log.Warn("addresses stay on the interfaces if usvs is killed, and nobody says farewell", "err", err)
	}
	w.open()
	w.watcher, err = host.WatchInterfaces(func(list []host.Interface) {
		m.post(func(now clock.Instant) { w.setInterfaces(now, list) })
	})
	return w, err
}

// open makes what runs programs and probes. It cannot fail.
func (w *world) open() {
	w.probes = probe.New(probe.Config{Via: w.via.dial(), Warn: func(text string) { w.log.Warn(text) }}, w.probed)
	w.notifiers = notify.NewScripts(notify.ScriptsConfig{Log: w.told})
	w.trackers = track.NewScripts(w.ran)
	w.files = track.NewFiles(func(name string, value int) {
		w.m.post(func(now clock.Instant) { w.m.node.SetFile(now, name, value) })
	})
	w.processes = track.NewProcesses(func(name string, count int) {
		w.m.post(func(now clock.Instant) { w.m.node.SetProcess(now, name, count) })
	})
}

// stopGrace is how long notify scripts and mail of the node's end may take.
const stopGrace = 5 * time.Second

// close ends everything; nothing is posted afterwards that would be waited for.
func (w *world) close() {
	if w.watcher != nil {
		w.watcher.Close()
	}
	if w.sockets != nil {
		w.sockets.Close()
	}
	if w.addresses != nil {
		w.addresses.Close()
	}
	w.via.close()
	if w.frames != nil {
		w.frames.Close()
	}
	if w.probes == nil {
		return
	}
	w.probes.Close()
	w.trackers.Close()
	w.files.Close()
	w.processes.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	w.notifiers.Close(ctx)
	for _, f := range w.fifos {
		f.Close(ctx)
	}
	if w.mailer != nil {
		w.mailer.Close(ctx)
	}
}

// The host's side: what happens is posted to the loop.

func (w *world) received(iface string, packet []byte) {
	w.m.post(func(now clock.Instant) { w.m.node.HandleVRRP(now, vrrp.Packet{Interface: iface, IP: packet}) })
}

func (w *world) lost(a host.Address) {
	w.m.post(func(now clock.Instant) { w.m.node.AddressLost(now, a.Interface, a.Prefix.Addr()) })
}

func (w *world) probed(id health.CheckID, r health.Result) {
	w.m.post(func(now clock.Instant) { w.m.node.ProbeDone(now, id, r) })
}

func (w *world) ran(name string, exit script.Exit) {
	if exit.Err != nil {
		w.log.Warn(exit.Err.Error())
	}
	r := vrrp.ScriptResult{Status: exit.Status, Signal: int(exit.Signal), TimedOut: exit.TimedOut}
	if exit.Err != nil {
		r.Status = cannotRun
	}
	w.m.post(func(now clock.Instant) { w.m.node.ScriptDone(now, name, r) })
}

// cannotRun is the exit status of a script that cannot be executed, as a shell
// has it.
const cannotRun = 126

func (w *world) told(level notify.Level, text string) {
	w.log.Log(context.Background(), map[notify.Level]slog.Level{
		notify.Info: slog.LevelInfo, notify.Detail: w.detail, notify.Warning: slog.LevelWarn,
	}[level], text)
}

// setInterfaces tells the node what is new about the host's interfaces, and
// opens sockets anew on those that were made anew.
func (w *world) setInterfaces(now clock.Instant, list []host.Interface) {
	is := make(map[string]host.Interface, len(list))
	for _, i := range list {
		is[i.Name] = i
	}
	moved := false
	for _, name := range slices.Sorted(maps.Keys(w.interfaces)) {
		if _, still := is[name]; !still {
			moved = true
			w.m.node.RemoveInterface(now, name)
		}
	}
	old := w.interfaces
	w.interfaces = is
	for _, i := range list {
		was := old[i.Name]
		moved = moved || was.Index != i.Index
		if !i.Equal(&was) {
			w.m.node.SetInterface(now, vrrp.Interface{Name: i.Name, Up: i.Up, MAC: i.MAC, MTU: i.MTU, NoARP: i.NoARP, Addrs: i.Addrs})
		}
	}
	if moved && w.setup != nil {
		w.setSockets()
	}
}

// The node's side: node.World.

// SendVRRP implements node.World.
func (w *world) SendVRRP(iface string, packet []byte, src wire.MAC) {
	w.complain(iface, w.sockets.Send(iface, packet, src))
}

// Farewell implements node.World.
func (w *world) Farewell(router string, packets []vrrp.Packet) {
	var list []host.Farewell
	for _, p := range packets {
		list = append(list, host.Farewell{Interface: p.Interface, Packet: p.IP})
	}
	w.addresses.Farewell(router, list)
}

// complain logs an error of sending by an interface, the same one once.
func (w *world) complain(iface string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if w.failing[iface] == text {
		return
	}
	w.failing[iface] = text
	if err != nil {
		w.log.Warn(text)
	}
}

// Announce implements node.World.
func (w *world) Announce(iface string, addr netip.Addr, mac wire.MAC) {
	i, known := w.interfaces[iface]
	if mac == (wire.MAC{}) {
		mac = i.MAC
	}
	if !known || i.NoARP || mac == (wire.MAC{}) {
		return
	}
	frame := vrrp.GratuitousARP
	if addr.Is6() {
		router := host.ForwardsIPv6(iface)
		frame = func(mac wire.MAC, addr netip.Addr) []byte { return vrrp.UnsolicitedNA(mac, addr, router) }
	}
	if err := w.frames.Send(iface, frame(mac, addr)); err != nil {
		w.log.Log(context.Background(), w.detail, "cannot announce", "address", addr, "err", err)
	}
}

// AddAddress implements node.World.
func (w *world) AddAddress(a node.Address) {
	addr, err := hostAddress(a)
	if err == nil {
		err = w.addresses.Add(addr)
	}
	if err != nil {
		w.log.Error("cannot add an address", "address", a.Prefix, "interface", a.Interface, "err", err)
	}
}

// RemoveAddress implements node.World.
func (w *world) RemoveAddress(a node.Address) {
	if _, err := w.remove(a); err != nil {
		w.log.Error("cannot remove an address", "address", a.Prefix, "interface", a.Interface, "err", err)
	}
}

func (w *world) remove(a node.Address) (bool, error) {
	addr, err := hostAddress(a)
	if err != nil {
		return false, err
	}
	return w.addresses.Remove(addr)
}

// AddRoute implements node.World.
func (w *world) AddRoute(r iproute.Route) {
	if err := w.addresses.AddRoute(r); err != nil {
		w.log.Error("cannot add a route", "err", err)
	}
}

// RemoveRoute implements node.World.
func (w *world) RemoveRoute(r iproute.Route) {
	if _, err := w.addresses.RemoveRoute(r); err != nil {
		w.log.Error("cannot remove a route", "err", err)
	}
}

// StartProbe implements node.World.
func (w *world) StartProbe(id health.CheckID, p *health.Probe) { w.probes.Start(id, p) }

// CancelProbe implements node.World.
func (w *world) CancelProbe(id health.CheckID) { w.probes.Cancel(id) }

// RunTrackScript implements node.World.
func (w *world) RunTrackScript(name string) { w.trackers.Run(name) }

// RunScript implements node.World.
func (w *world) RunScript(n node.Notification) { w.notifiers.Run(n.Queue, command(n.Script)) }

// WriteFIFO implements node.World.
func (w *world) WriteFIFO(path, line string) {
	if f := w.fifos[path]; f != nil {
		f.Write(line)
	}
}

// SendMail implements node.World.
func (w *world) SendMail(mail node.Mail) {
	if w.mailer != nil {
		w.mailer.Send(mail.Subject, mail.Body)
	}
}

// Log implements node.World.
func (w *world) Log(level vrrp.Level, text string) {
	w.log.Log(context.Background(), map[vrrp.Level]slog.Level{
		vrrp.Info: slog.LevelInfo, vrrp.Detail: w.detail, vrrp.Warning: slog.LevelWarn,
	}[level], text)
}

func command(s node.Script) script.Command {
	return script.Command{Args: s.Args, User: s.User, Group: s.Group}
}
