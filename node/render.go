package node

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"usvs/clock"
	"usvs/health"
	"usvs/vrrp"
)

// columns aligns what is written to it, cells ended by tabs.
func columns(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// WriteVRRP writes the status of instances, sync groups and what they track, as
// tables.
func (s *Status) WriteVRRP(w io.Writer) error {
	if len(s.VRRP.Instances) == 0 {
		_, err := fmt.Fprintln(w, "no vrrp_instance is configured")
		return err
	}
	t := columns(w)
	fmt.Fprintln(t, "VRRP_INSTANCE\tSTATE\tFOR\tPRIORITY\tVRID\tINTERFACE\tMASTER\tVIRTUAL ADDRESSES")
	for i := range s.VRRP.Instances {
		s.writeInstance(t, &s.VRRP.Instances[i])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range s.VRRP.Instances {
		in := &s.VRRP.Instances[i]
		for _, f := range in.Faults {
			fmt.Fprintf(w, "%s: fault: %s\n", in.Name, f)
		}
	}
	s.writeGroups(w)
	s.writeTracked(w)
	return nil
}

func (s *Status) writeInstance(t io.Writer, in *vrrp.InstanceStatus) {
	fmt.Fprintf(t, "%s\t%v\t%s\t%s\t%d\t%s\t%s\t", in.Name, in.State, s.since(in.Since), priority(in), in.VRID, dash(in.Interface), master(in))
	all := append(in.Addresses[:len(in.Addresses):len(in.Addresses)], in.Excluded...)
	if len(all) == 0 {
		fmt.Fprintln(t, "-")
	}
	for i, a := range all {
		if i > 0 {
			fmt.Fprint(t, "\t\t\t\t\t\t\t")
		}
		fmt.Fprint(t, a.Prefix)
		if a.Interface != "" && a.Interface != in.Interface {
			fmt.Fprintf(t, " dev %s", a.Interface)
		}
		if !a.VMAC.IsZero() {
			fmt.Fprintf(t, " at %v", a.VMAC)
		}
		fmt.Fprintln(t)
	}
}

func priority(in *vrrp.InstanceStatus) string {
	if in.Base == in.Priority {
		return strconv.Itoa(in.Priority)
	}
	return fmt.Sprintf("%d (base %d)", in.Priority, in.Base)
}

// master is who the instance takes for the master.
func master(in *vrrp.InstanceStatus) string {
	switch {
	case in.State == vrrp.Master:
		return "this node"
	case in.State != vrrp.Backup || !in.Master.IsValid():
		return "-"
	}
	return fmt.Sprintf("%v (%d)", in.Master, in.MasterPriority)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (s *Status) writeGroups(w io.Writer) {
	if len(s.VRRP.Groups) == 0 {
		return
	}
	t := columns(w)
	fmt.Fprintln(t, "\nVRRP_SYNC_GROUP\tSTATE\tINSTANCES")
	for _, g := range s.VRRP.Groups {
		fmt.Fprintf(t, "%s\t%v\t%s\n", g.Name, g.State, strings.Join(g.Members, " "))
	}
	t.Flush()
}

// writeTracked writes what instances depend on besides interfaces.
func (s *Status) writeTracked(w io.Writer) {
	v := &s.VRRP
	if len(v.Scripts)+len(v.Processes)+len(v.Files) == 0 {
		return
	}
	t := columns(w)
	fmt.Fprintln(t, "\nTRACKED\tNAME\tSTATE\tDETAIL")
	for _, sc := range v.Scripts {
		fmt.Fprintf(t, "script\t%s\t%s\t%s\n", sc.Name, upDown(sc.Up), s.scriptDetail(&sc))
	}
	for _, p := range v.Processes {
		fmt.Fprintf(t, "process\t%s\t%s\t%d running\n", p.Name, upDown(p.Up), p.Count)
	}
	for _, f := range v.Files {
		fmt.Fprintf(t, "file\t%s\t-\t%d\n", f.Name, f.Value)
	}
	t.Flush()
}

func (s *Status) scriptDetail(sc *vrrp.ScriptStatus) string {
	var last string
	switch {
	case !sc.Ran:
		last = "not run yet"
	case sc.Last.TimedOut:
		last = "timed out"
	case sc.Last.Signal != 0:
		last = fmt.Sprintf("ended by signal %d", sc.Last.Signal)
	default:
		last = fmt.Sprintf("exit status %d", sc.Last.Status)
	}
	return last + s.next(sc.Running, sc.Next)
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// WriteHealth writes the status of virtual servers, their servers and their
// checks, as a table.
func (s *Status) WriteHealth(w io.Writer) error {
	if len(s.Health.Services) == 0 {
		_, err := fmt.Fprintln(w, "no virtual_server is configured")
		return err
	}
	t := columns(w)
	fmt.Fprintln(t, "VIRTUAL_SERVER, REAL_SERVERS\tSTATE\tFOR\tWEIGHT\tCHECKS")
	for i := range s.Health.Services {
		s.writeService(t, &s.Health.Services[i])
	}
	return t.Flush()
}

func (s *Status) writeService(t io.Writer, vs *health.ServiceStatus) {
	state := "quorum"
	if !vs.Up {
		state = "NO QUORUM"
	}
	fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", vs.Name, state, s.since(vs.Since), vs.Weight, quorum(vs))
	for i := range vs.Servers {
		rs := &vs.Servers[i]
		state := "up"
		if !rs.Up {
			state = "DOWN"
		}
		fmt.Fprintf(t, "  -> %s\t%s\t%s\t%d\t", rs.Name, state, s.since(rs.Since), rs.Weight)
		if len(rs.Checks) == 0 {
			fmt.Fprintln(t, "none")
		}
		for j := range rs.Checks {
			if j > 0 {
				fmt.Fprint(t, "\t\t\t\t")
			}
			fmt.Fprintln(t, s.checkDetail(rs, &rs.Checks[j]))
		}
	}
	if vs.Sorry != "" {
		state := "waiting"
		if vs.SorryUp {
			state = "IN USE"
		}
		fmt.Fprintf(t, "  -> %s\t%s\t\t\tsorry_server\n", vs.Sorry, state)
	}
}

func quorum(vs *health.ServiceStatus) string {
	text := fmt.Sprintf("quorum %d", vs.Quorum)
	if vs.Hysteresis != 0 {
		text += fmt.Sprintf(" hysteresis %d", vs.Hysteresis)
	}
	if vs.Suspended {
		text += ", checks suspended"
	}
	return text
}

// checkDetail is a check in a few words: what it is, how it went, what is next.
func (s *Status) checkDetail(rs *health.ServerStatus, c *health.CheckStatus) string {
	text := c.Kind
	if c.Target != rs.Name {
		text += " " + c.Target
	}
	if c.Path == health.ViaVIP.String() {
		text += " by the VIP"
	}
	if !c.Run {
		return text + ": no result yet" + s.next(c.Running, c.Next)
	}
	words := []string{c.Last, c.Reason, c.Cause}
	if c.Last == health.Failure.String() {
		words[0] = "failed"
	}
	words = slices.DeleteFunc(slices.Compact(words), func(s string) bool { return s == "" })
	text += ": " + strings.Join(words, ", ")
	if c.Up && c.Retries > 0 {
		text += fmt.Sprintf(" (%d of %d retries)", c.Retries, c.Retry)
	}
	return text + ", " + s.since(c.Ended) + " ago" + s.next(c.Running, c.Next)
}

// next is when something that recurs is due.
func (s *Status) next(running bool, at clock.Instant) string {
	switch {
	case running:
		return ", running now"
	case at == 0 || at == clock.Never:
		return ""
	}
	return ", next in " + span(at.Sub(s.Now))
}

func (s *Status) since(at clock.Instant) string { return span(s.Now.Sub(at)) }

// span is a duration in two units at most.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return d.Truncate(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Truncate(time.Second).String()
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}
