package node

import (
	"time"

	"usvs/ipvs"
	"usvs/keepalived"
	"usvs/vrrp"
)

// table is what the node changed of IPVS besides services.
type table struct {
	before   ipvs.Timeouts // that lvs_timeouts replaced
	replaced bool
	daemons  [2]bool // master, backup: started here
}

// prepareTable does to IPVS what comes before the services.
func (n *Node) prepareTable() {
	if n.plan.flush {
		n.fail("flush", n.ctl.Flush())
	}
	n.adjustTable()
}

// adjustTable sets lvs_timeouts, or takes back what they were.
func (n *Node) adjustTable() {
	now, err := n.ctl.Timeouts()
	if err != nil {
		n.fail("timeouts", err)
		return
	}
	if !n.table.replaced {
		n.table.before = now
	}
	switch want, v := n.table.before, n.plan.timeouts; {
	case v != nil:
		replace(&want.TCP, v.TCP)
		replace(&want.TCPFin, v.TCPFin)
		replace(&want.UDP, v.UDP)
		n.fail("timeouts", n.ctl.SetTimeouts(want))
		n.table.replaced = true
	case n.table.replaced:
		n.fail("timeouts", n.ctl.SetTimeouts(want))
		n.table.replaced = false
	}
}

// replace sets a timeout that the configuration names; zero leaves it alone.
func replace(to *uint32, v time.Duration) {
	if v > 0 {
		*to = uint32(v / time.Second)
	}
}

// leaveTable does to IPVS what comes after the services have gone.
func (n *Node) leaveTable() {
	if n.plan.flushStop {
		n.fail("flush", n.ctl.Flush())
	}
	if n.table.replaced {
		n.fail("timeouts", n.ctl.SetTimeouts(n.table.before))
		n.table.replaced = false
	}
}

func (n *Node) fail(what string, err error) {
	if err != nil {
		n.world.Log(vrrp.Warning, "IPVS "+what+": "+err.Error())
	}
}

// syncPlan is lvs_sync_daemon.
type syncPlan struct {
	daemon   ipvs.Daemon // without State
	instance string      // whose state decides; empty: both run
}

// planTable is what global_defs says of IPVS.
func (p *plan) planTable() {
	g := &p.conf.Global
	p.flush, p.flushStop = g.LVSFlush.V, g.LVSFlushOnStop.V == "all"
	if g.LVSTimeouts.Set() {
		p.timeouts = &g.LVSTimeouts.V
	}
	p.planSync(g.LVSSyncDaemon)
}

func (p *plan) planSync(v keepalived.Value[keepalived.SyncDaemon]) {
	if !v.Set() {
		return
	}
	d := v.V
	p.sync = &syncPlan{instance: d.Instance, daemon: ipvs.Daemon{
		Interface: d.Interface, SyncID: d.ID, MaxLen: d.MaxLen, Group: d.Group, Port: int(d.Port), TTL: d.TTL,
	}}
	if i := p.instances[d.Instance]; i != nil && d.ID == 0 {
		p.sync.daemon.SyncID = i.VRID
	}
}

// startSync starts the daemons that there are to be from the beginning: with an
// instance the backup, which followSync may have changed by now.
func (n *Node) startSync() {
	switch s := n.plan.sync; {
	case s == nil:
	case s.instance == "":
		n.startDaemon(ipvs.DaemonMaster)
		n.startDaemon(ipvs.DaemonBackup)
	case !n.table.daemons[0] && !n.table.daemons[1]:
		n.startDaemon(ipvs.DaemonBackup)
	}
}

func (n *Node) stopSync() {
	n.stopDaemon(ipvs.DaemonMaster)
	n.stopDaemon(ipvs.DaemonBackup)
}

// followSync has the daemon be what its instance is.
func (n *Node) followSync(e vrrp.Event) {
	s := n.plan.sync
	if s == nil || s.instance != e.Name || !n.running {
		return
	}
	stop, start := ipvs.DaemonMaster, ipvs.DaemonBackup
	if e.State == vrrp.Master {
		stop, start = start, stop
	}
	n.stopDaemon(stop)
	n.startDaemon(start)
}

// restartSync brings the daemons in line after a reload.
func (n *Node) restartSync(old *plan) {
	switch is, was := n.plan.sync, old.sync; {
	case is == nil && was == nil, is != nil && was != nil && *is == *was:
		return
	}
	n.stopSync()
	if s := n.plan.sync; s != nil && s.instance != "" && n.isMaster(s.instance) {
		n.startDaemon(ipvs.DaemonMaster)
		return
	}
	n.startSync()
}

func (n *Node) isMaster(instance string) bool {
	for _, i := range n.router.Status().Instances {
		if i.Name == instance {
			return i.State == vrrp.Master
		}
	}
	return false
}

func daemonIndex(s ipvs.DaemonState) int {
	if s == ipvs.DaemonMaster {
		return 0
	}
	return 1
}

func (n *Node) startDaemon(s ipvs.DaemonState) {
	if n.table.daemons[daemonIndex(s)] {
		return
	}
	d := n.plan.sync.daemon
	d.State = s
	err := n.ctl.StartDaemon(d)
	n.fail("synchronisation daemon", err)
	n.table.daemons[daemonIndex(s)] = err == nil
}

func (n *Node) stopDaemon(s ipvs.DaemonState) {
	if !n.table.daemons[daemonIndex(s)] {
		return
	}
	n.table.daemons[daemonIndex(s)] = false
	n.fail("synchronisation daemon", n.ctl.StopDaemon(s))
}
