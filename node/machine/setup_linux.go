package machine

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"

	"usvs/host"
	"usvs/iproute"
	"usvs/node"
	"usvs/notify"
	"usvs/script"
	"usvs/track"
)

// fifo is a FIFO with what it was made from.
type fifo struct {
	*notify.FIFO
	made node.FIFO
}

// Configure implements node.World.
func (w *world) Configure(s *node.Setup) {
	old := w.setup
	w.setup = s
	reload := old != nil
	if !reload {
		old = &node.Setup{}
		w.clearRoutes(s.LeftoverRoutes)
		w.clear(s.Leftovers)
	}
	w.setSockets()
	policy := script.Policy{User: s.ScriptUser, Group: s.ScriptGroup, Secure: s.ScriptSecurity}
	w.notifiers.SetPolicy(policy)
	w.probes.SetPolicy(policy)
	w.setTrackers(policy)
	w.setFiles(old.Files, reload)
	w.setFIFOs(policy)
	if !reflect.DeepEqual(old.Mail, s.Mail) {
		w.setMailer()
	}
}

// clear takes off addresses that a node left that was killed.
func (w *world) clear(leftovers []node.Address) {
	for _, a := range leftovers {
		there, err := w.remove(a)
		switch {
		case err != nil:
			w.log.Warn("cannot remove an address", "address", a.Prefix, "interface", a.Interface, "err", err)
		case there:
			w.log.Info("removed an address that was left over", "address", a.Prefix, "interface", a.Interface)
		}
	}
}

// clearRoutes takes such routes off.
func (w *world) clearRoutes(leftovers []iproute.Route) {
	for _, r := range leftovers {
		there, err := w.addresses.RemoveRoute(r)
		switch {
		case err != nil:
			w.log.Warn("cannot remove a route", "err", err)
		case there:
			w.log.Info("removed a route that was left over", "route", r)
		}
	}
}

// setSockets opens and closes sockets as the setup and the interfaces have it.
func (w *world) setSockets() {
	if err := w.sockets.Set(endpoints(w.setup.Sockets)); err != nil {
		w.log.Error("cannot listen to VRRP", "err", err)
	}
}

// endpoints joins sockets that are one for the kernel.
func endpoints(sockets []node.Socket) []host.VRRPEndpoint {
	var list []host.VRRPEndpoint
	for _, s := range sockets {
		e := host.VRRPEndpoint{Interface: s.Interface, IPv6: s.IPv6, Protocol: host.ProtocolVRRP}
		if s.AH {
			e.Protocol = host.ProtocolAH
		}
		at := slices.IndexFunc(list, func(o host.VRRPEndpoint) bool {
			return o.Interface == e.Interface && o.IPv6 == e.IPv6 && o.Protocol == e.Protocol
		})
		if at < 0 {
			at, list = len(list), append(list, e)
		}
		if s.Group.IsValid() && !slices.Contains(list[at].Groups, s.Group) {
			list[at].Groups = append(list[at].Groups, s.Group)
			slices.SortFunc(list[at].Groups, netip.Addr.Compare)
		}
	}
	return list
}

func (w *world) setTrackers(policy script.Policy) {
	scripts := map[string]track.Script{}
	for _, s := range w.setup.Scripts {
		c := command(s.Script)
		if s.Reads != "" {
			c.Args = []string{"<" + s.Reads}
		}
		scripts[s.Name] = track.Script{Command: c, Limit: s.Timeout}
	}
	w.trackers.Set(policy, scripts)
	processes := map[string]track.Process{}
	for _, p := range w.setup.Processes {
		processes[p.Name] = track.Process{
			Command: p.Command, FullCommand: p.FullCommand, MatchSet: p.ParamMatch != "",
			Match: map[string]track.ParamMatch{"initial": track.Initial, "partial": track.Partial}[p.ParamMatch],
		}
	}
	w.processes.Set(processes)
}

// setFiles watches the files of the setup instead of the old ones. Like
// keepalived it overwrites none at a reload: by then it has a say.
func (w *world) setFiles(old []node.TrackFile, reload bool) {
	for _, f := range old {
		if !slices.ContainsFunc(w.setup.Files, func(n node.TrackFile) bool { return n.Name == f.Name }) {
			w.files.Unwatch(f.Name)
		}
	}
	for _, f := range w.setup.Files {
		if f.Init != nil {
			if err := track.InitFile(f.Path, *f.Init, f.Overwrite && !reload); err != nil {
				w.log.Warn("track_file "+f.Name, "err", err)
			}
		}
		w.files.Watch(f.Name, f.Path)
	}
}

// setFIFOs opens and closes FIFOs; those that stay the same stay open.
func (w *world) setFIFOs(policy script.Policy) {
	open := map[string]*fifo{}
	for _, f := range w.setup.FIFOs {
		if was := w.fifos[f.Path]; was != nil && reflect.DeepEqual(was.made, f) {
			open[f.Path] = was
			delete(w.fifos, f.Path)
		}
	}
	for _, f := range w.fifos {
		f.Shut() // its name is free for another
		retire(f)
	}
	for _, f := range w.setup.FIFOs {
		if open[f.Path] != nil {
			continue
		}
		c := notify.FIFOConfig{Path: f.Path, User: f.User, Group: f.Group, Policy: policy, Log: w.told}
		if f.Reader != nil {
			c.Reader = command(*f.Reader)
		}
		made, err := notify.OpenFIFO(c)
		if err != nil {
			w.log.Error("cannot notify", "err", err)
			continue
		}
		open[f.Path] = &fifo{made, f}
	}
	w.fifos = open
}

func (w *world) setMailer() {
	if w.mailer != nil {
		retire(w.mailer)
		w.mailer = nil
	}
	if s := w.setup.Mail; s != nil {
		w.mailer = notify.NewMailer(notify.MailConfig{
			Server: net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))), ConnectTimeout: s.Timeout,
			Helo: s.Helo, From: s.From, To: s.To, Log: w.told,
		})
	}
}

// retire closes something that has work left, meanwhile the loop goes on.
func retire(c interface{ Close(context.Context) }) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
		defer cancel()
		c.Close(ctx)
	}()
}
