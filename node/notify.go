package node

import (
	"fmt"
	"strconv"

	"usvs/health"
	"usvs/keepalived"
	"usvs/vrrp"
)

// teller is an instance or a sync group.
type teller struct {
	group bool
	name  string
}

// notices is whom to tell of an instance or a group.
type notices struct {
	scripts   map[vrrp.State]keepalived.Value[keepalived.Script]
	any       keepalived.Value[keepalived.Script]
	lowerPrio keepalived.Value[keepalived.Script]
	mail      bool
}

func (p *plan) tell(t teller, n *notices) { p.tellers[t] = n }

func noticesOfInstance(i *keepalived.Instance) *notices {
	n := scripts(&i.Notify)
	n.lowerPrio, n.mail = i.NotifyLowerPrio, i.SMTPAlert.V
	if i.NotifyDeleted.Set() {
		n.scripts[vrrp.Deleted] = i.NotifyDeleted
	} else {
		n.scripts[vrrp.Deleted] = i.Notify.Fault
	}
	return n
}

func noticesOfGroup(g *keepalived.SyncGroup) *notices {
	n := scripts(&g.Notify)
	n.mail = g.SMTPAlert.V
	return n
}

func scripts(n *keepalived.Notify) *notices {
	return &notices{any: n.Any, scripts: map[vrrp.State]keepalived.Value[keepalived.Script]{
		vrrp.Master: n.Master, vrrp.Backup: n.Backup, vrrp.Fault: n.Fault, vrrp.Stop: n.Stop,
	}}
}

// tellVRRP turns what happened to an instance or a group into scripts, a line
// for FIFOs and mail, in keepalived's order.
func (n *Node) tellVRRP(e vrrp.Event) {
	t := n.teller(e)
	switch e.Kind {
	case vrrp.StateChanged:
		n.runNotify(e, t.scripts[e.State], nil)
		n.runNotify(e, t.any, []string{kindOf(e), e.Name, e.What(), strconv.Itoa(e.Priority)})
	case vrrp.MasterReceivedLower:
		n.runNotify(e, t.lowerPrio, nil)
	}
	n.writeFIFOs(e.Line(), n.plan.vrrpFIFOs)
	if e.Kind == vrrp.StateChanged && t.mail {
		n.mailVRRP(e)
	}
	if e.Kind == vrrp.StateChanged && !e.Group {
		n.followSync(e)
	}
}

// teller finds whom to tell. An instance that a reload has deleted is in the
// plan before only.
func (n *Node) teller(e vrrp.Event) *notices {
	key := teller{e.Group, e.Name}
	if t := n.plan.tellers[key]; t != nil {
		return t
	}
	if n.old != nil && n.old.tellers[key] != nil {
		return n.old.tellers[key]
	}
	return &notices{}
}

func kindOf(e vrrp.Event) string {
	if e.Group {
		return "GROUP"
	}
	return "INSTANCE"
}

func (n *Node) runNotify(e vrrp.Event, v keepalived.Value[keepalived.Script], more []string) {
	if !v.Set() {
		return
	}
	s := script(v.V)
	s.Args = append(s.Args[:len(s.Args):len(s.Args)], more...)
	n.world.RunScript(Notification{Queue: kindOf(e) + " " + e.Name, Script: s})
}

func (n *Node) writeFIFOs(line string, paths []string) {
	for _, path := range paths {
		n.world.WriteFIFO(path, line)
	}
}

// mailVRRP tells of a state in keepalived's words.
func (n *Node) mailVRRP(e vrrp.Event) {
	if e.State == vrrp.Fault && n.plan.noFaultMail {
		return
	}
	words, body := instanceMail(e.State)
	what := "Instance"
	if e.Group {
		what, body = "Group", groupMail(e.State)
	}
	n.sendMail(Mail{Subject: fmt.Sprintf("[%s] VRRP %s %s - %s", n.plan.routerID, what, e.Name, words), Body: body})
}

func instanceMail(s vrrp.State) (words, body string) {
	switch s {
	case vrrp.Master:
		return "Entering MASTER state", "=> VRRP Instance is now owning VRRP VIPs <="
	case vrrp.Stop:
		return "Stopping", "=> VRRP Instance stopping <="
	case vrrp.Deleted:
		return "Deleted", "=> VRRP Deleted at reload <="
	}
	return "Entering " + s.String() + " state", "=> VRRP Instance is no longer owning VRRP VIPs <="
}

func groupMail(s vrrp.State) string {
	if s == vrrp.Stop {
		return "=> All VRRP group instances are now stopping <="
	}
	return "=> All VRRP group instances are now in " + s.String() + " state <="
}

func (n *Node) sendMail(m Mail) {
	if n.plan.setup.Mail != nil {
		n.world.SendMail(m)
	}
}

// tellHealth is tellVRRP for servers and quorums.
func (n *Node) tellHealth(e health.Event) {
	if s := e.Script; s != nil {
		queue := "VS " + e.Service
		if e.Server != "" {
			queue = "RS " + e.Server + " " + e.Service
		}
		n.world.RunScript(Notification{Queue: queue, Script: Script{Args: s.Args, User: s.User, Group: s.Group}})
	}
	if e.FIFO != "" {
		n.writeFIFOs(e.FIFO, n.plan.lvsFIFOs)
	}
	if e.Mail != nil {
		n.sendMail(Mail(*e.Mail))
	}
}
