package control

import (
	"fmt"
	"net/netip"
	"sync"

	"usvs/clock"
	"usvs/connsync"
	"usvs/ipvs"
)

// SyncTransport carries the synchronisation daemons' messages. The host does it
// with sockets; a simulated world, which has frames only, with
// connsync.Datagram.Frame and connsync.Payload.
//
// What leaves: the world calls Control.SyncTick when SyncTick asked to be
// called, or at SyncDeadline, which every packet may bring forward; SyncTick
// calls Send. What arrives: the world gives every UDP payload that came to a
// multicast group to Control.ReceiveSync, which knows whether it is meant.
type SyncTransport interface {
	// Interface returns an interface's MTU. The error of one that is not there
	// wraps ipvs.ErrNoDevice.
	Interface(name string) (mtu int, err error)
	// Open prepares for a daemon: to send to d.Group, or to receive from it, on
	// as many ports from d.Port on as the options say.
	Open(d *ipvs.Daemon, o SyncOptions) error
	// Close ends what Open began. It does not wait for ReceiveSync to return.
	Close(ipvs.DaemonState)
	// Send sends a message of the master, whose payload is valid only until
	// Send returns. What cannot be sent is lost, as with the kernel.
	Send(*connsync.Datagram)
}

// SyncOptions are what settings say of the daemons' sockets.
type SyncOptions struct {
	Ports  int // sync_ports
	Buffer int // sync_sock_size, bytes; at most 0: the system's default
}

// The daemons' defaults (ipvs.md 6.1).
var syncGroup = netip.AddrFrom4([4]byte{224, 0, 0, 81})

const (
	syncPort     = 8848
	syncTTL      = 1
	syncMTU      = 1500
	maxSyncPorts = 64

	ipv4UDPLen = 28 // headers in front of a message
	ipv6UDPLen = 48
	minBackup  = 1024 // bytes a backup must be ready for
	maxPacket  = 65535
)

// daemon is a synchronisation daemon that runs.
type daemon struct {
	ipvs.Daemon             // as listed
	asked       ipvs.Daemon // as it was asked for
	ports       int

	master    *connsync.Master
	receiving sync.Mutex // guards backup
	backup    *connsync.Backup
}

// Daemons lists the synchronisation daemons that run, the master first.
func (c *Control) Daemons() ([]ipvs.Daemon, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []ipvs.Daemon
	for i := range c.daemons {
		if d := c.daemons[i].Load(); d != nil {
			list = append(list, d.Daemon)
		}
	}
	return list, nil
}

// StartDaemon starts a synchronisation daemon: a master tells other directors
// of the connections here, a backup takes over what a master tells.
func (c *Control) StartDaemon(d ipvs.Daemon) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.startDaemonLocked(d); err != nil {
		return fmt.Errorf("start %s daemon on %s: %w", roleName(d.State), d.Interface, err)
	}
	c.publishLocked()
	return nil
}

// StopDaemon stops a synchronisation daemon.
func (c *Control) StopDaemon(s ipvs.DaemonState) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.stopDaemonLocked(s); err != nil {
		return fmt.Errorf("stop %s daemon: %w", roleName(s), err)
	}
	c.publishLocked()
	return nil
}

func (c *Control) startDaemonLocked(asked ipvs.Daemon) error {
	if asked.State != ipvs.DaemonMaster && asked.State != ipvs.DaemonBackup {
		return ipvs.ErrInvalid
	}
	if c.mixedLocked() {
		return fmt.Errorf("a server has another address family than its service: %w", ipvs.ErrInvalid)
	}
	d := &daemon{Daemon: asked, asked: asked}
	mtu := syncMTU
	if c.cfg.Sync != nil {
		var err error
		if mtu, err = c.cfg.Sync.Interface(asked.Interface); err != nil {
			return err
		}
	}
	d.resolve(mtu)
	slot := &c.daemons[asked.State-1]
	if slot.Load() != nil {
		return ipvs.ErrExists
	}
	d.ports = c.syncPortsLocked()
	if c.cfg.Sync != nil {
		if err := c.cfg.Sync.Open(&d.Daemon, SyncOptions{d.ports, c.sysctls.SyncSockSize}); err != nil {
			return err
		}
	}
	if c.cfg.Director != nil {
		c.connect(d)
	}
	slot.Store(d)
	c.backup = c.daemons[ipvs.DaemonBackup-1].Load() != nil
	return nil
}

// connect joins a new daemon to the director.
func (c *Control) connect(d *daemon) {
	dir := c.cfg.Director
	if d.State == ipvs.DaemonBackup {
		d.backup = &connsync.Backup{
			Table: dir.Table, SyncID: uint8(d.SyncID),
			Find: func(e *connsync.Entry) *ipvs.RealServer { return dir.Snapshot().ServerOf(e) },
		}
		return
	}
	d.master = connsync.NewMaster(c.cfg.Clock.Now(), connsync.MasterConfig{
		Table: dir.Table, SyncID: uint8(d.SyncID), MaxLen: d.MaxLen, Ports: d.ports, QueueMax: c.sysctls.SyncQlenMax,
	})
	dir.SetMaster(d.master)
}

func (c *Control) stopDaemonLocked(s ipvs.DaemonState) error {
	if s != ipvs.DaemonMaster && s != ipvs.DaemonBackup {
		return ipvs.ErrInvalid
	}
	d := c.daemons[s-1].Swap(nil)
	if d == nil {
		return ipvs.ErrNotFound
	}
	if d.master != nil {
		c.cfg.Director.SetMaster(nil)
	}
	if c.cfg.Sync != nil {
		c.cfg.Sync.Close(s)
	}
	c.backup = c.daemons[ipvs.DaemonBackup-1].Load() != nil
	return nil
}

// resolve fills in what was not asked for (ipvs.md 6.1).
func (d *daemon) resolve(mtu int) {
	if !d.Group.IsValid() {
		d.Group = syncGroup
	}
	if d.Port == 0 {
		d.Port = syncPort
	}
	if d.TTL == 0 {
		d.TTL = syncTTL
	}
	header, smallest := ipv4UDPLen, 1
	if d.Group.Is6() {
		header = ipv6UDPLen
	}
	if d.State == ipvs.DaemonMaster {
		mtu = syncMTU
	} else {
		mtu, smallest = min(max(mtu, syncMTU), maxPacket), minBackup
	}
	if d.MaxLen == 0 {
		d.MaxLen = mtu - header
	}
	d.MaxLen = min(max(d.MaxLen, smallest), maxPacket-header)
}

// syncPortsLocked is how many ports a daemon uses. It stays what it was when
// the first of the two started.
func (c *Control) syncPortsLocked() int {
	for i := range c.daemons {
		if d := c.daemons[i].Load(); d != nil {
			return d.ports
		}
	}
	return min(max(c.sysctls.SyncPorts, 1), maxSyncPorts)
}

// mixedLocked reports whether a server has another address family than its
// service, which messages cannot express.
func (c *Control) mixedLocked() bool {
	for _, svc := range c.services {
		for _, rs := range svc.reals {
			if ipvs.FamilyOf(rs.ID.Addr) != svc.vs.ID.Family {
				return true
			}
		}
	}
	return false
}

// checkMixedLocked refuses a server of another family than its service where
// that cannot be forwarded to, or told of.
func (c *Control) checkMixedLocked(svc ipvs.ServiceID, addr netip.Addr, m ipvs.ForwardMethod) error {
	if err := checkMixed(svc, addr, m); err != nil {
		return err
	}
	syncs := c.daemons[0].Load() != nil || c.daemons[1].Load() != nil
	if syncs && ipvs.FamilyOf(addr) != svc.Family {
		return fmt.Errorf("a server of another address family cannot be synchronised: %w", ipvs.ErrInvalid)
	}
	return nil
}

func roleName(s ipvs.DaemonState) string {
	if s == ipvs.DaemonBackup {
		return "backup"
	}
	return "master"
}

// SyncTick sends what the master has to tell by now, and returns when it wants
// to be called again. Packets bring that forward: see SyncDeadline.
func (c *Control) SyncTick(now clock.Instant) clock.Instant {
	d := c.daemons[ipvs.DaemonMaster-1].Load()
	if d == nil || d.master == nil {
		return clock.Never
	}
	g := connsync.Datagram{Interface: d.Interface, TTL: d.TTL}
	return d.master.Tick(now, func(port int, message []byte) {
		g.Group, g.Payload = netip.AddrPortFrom(d.Group, uint16(d.Port+port)), message
		if c.cfg.Sync != nil {
			c.cfg.Sync.Send(&g)
		}
	})
}

// SyncDeadline is when SyncTick is wanted; clock.Never without a master.
func (c *Control) SyncDeadline() clock.Instant {
	if d := c.daemons[ipvs.DaemonMaster-1].Load(); d != nil && d.master != nil {
		return d.master.Deadline()
	}
	return clock.Never
}

// ReceiveSync takes a UDP payload that was received by an interface, sent to a
// group and port. It reports whether it was for the backup daemon.
func (c *Control) ReceiveSync(now clock.Instant, iface string, to netip.AddrPort, payload []byte) bool {
	d := c.daemons[ipvs.DaemonBackup-1].Load()
	if d == nil || d.backup == nil || iface != d.Interface || to.Addr().WithZone("") != d.Group.WithZone("") ||
		int(to.Port()) < d.Port || int(to.Port()) >= d.Port+d.ports {
		return false
	}
	if len(payload) > d.MaxLen {
		payload = payload[:d.MaxLen] // the rest would not have been read; the message says how long it was
	}
	d.receiving.Lock()
	defer d.receiving.Unlock()
	d.backup.Receive(now, payload, c.cfg.Director.Snapshot().Sysctls.SyncThreshold)
	return true
}

// SyncCounters are what the daemons that run did, by daemon and name.
func (c *Control) SyncCounters() map[string]map[string]uint64 {
	all := map[string]map[string]uint64{}
	if d := c.daemons[ipvs.DaemonMaster-1].Load(); d != nil && d.master != nil {
		all["master"] = d.master.Counters()
	}
	if d := c.daemons[ipvs.DaemonBackup-1].Load(); d != nil && d.backup != nil {
		all["backup"] = d.backup.Counters()
	}
	return all
}

// daemons makes those daemons that the wanted state names what it says. Others
// go on: saved rules do not name any.
func (a *adoption) daemons(want *Control) {
	for i := range want.daemons {
		w := want.daemons[i].Load()
		if w == nil {
			continue
		}
		if d := a.Control.daemons[i].Load(); d != nil {
			if d.asked == w.asked {
				continue
			}
			_ = a.stopDaemonLocked(d.State) // it runs
		}
		if err := a.startDaemonLocked(w.asked); err != nil {
			a.errs = append(a.errs, fmt.Errorf("start %s daemon on %s: %w", roleName(w.State), w.Interface, err))
			continue
		}
		a.cfg.Log.Info("synchronisation daemon started", "role", roleName(w.State), "interface", w.Interface)
	}
}
