package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// judge asks whether an expectation is met.
func (r *run) judge(a Action) error {
	switch a := a.(type) {
	case *ExpectAnswered:
		return a.judge(r.traffic[a.Of].replies)
	case *ExpectOrder:
		return a.judge(r.traffic[a.Of].replies)
	case *ExpectOneServer:
		return a.judge(r.traffic[a.Of].replies, r.traffic[a.SameAs].replies)
	case *ExpectFailed:
		return a.judge(r.traffic[a.Of].replies)
	case *ExpectFrame:
		return r.judgeFrames(a)
	case *ExpectCounter:
		return r.judgeCounter(a)
	case *ExpectLog:
		return r.judgeLog(a)
	case *ExpectNeighbour:
		return r.judgeNeighbour(a)
	case *ExpectState:
		return r.await(a.Within, func() error { return r.judgeState(a) })
	case *ExpectVIP:
		return r.await(a.Within, func() error { return r.judgeVIP(a) })
	case *ExpectHealth:
		return r.await(a.Within, func() error { return r.judgeHealth(a) })
	}
	panic(fmt.Sprintf("scenario: no way to do a %T", a))
}

// String is the range as it is written in a scenario.
func (r Range) String() string {
	switch {
	case r.Min == r.Max:
		return fmt.Sprint(r.Min)
	case r.Max == unbounded:
		return fmt.Sprintf("%d or more", r.Min)
	}
	return fmt.Sprintf("%d to %d", r.Min, r.Max)
}

// Has reports whether n is in the range.
func (r Range) Has(n int) bool { return r.Min <= n && n <= r.Max }

// tally counts answers by server.
func tally(replies []Reply) map[string]int {
	m := map[string]int{}
	for _, a := range replies {
		if a.Fail == "" {
			m[a.Server]++
		}
	}
	return m
}

// Summary says who answered how often and how many failed, in a fixed order.
func Summary(replies []Reply) string {
	counts := map[string]int{}
	for _, a := range replies {
		switch {
		case a.Fail != "":
			counts["failed: "+string(a.Fail)]++
		case a.Server == "":
			counts["answered"]++
		default:
			counts[a.Server]++
		}
	}
	var list []string
	for who, n := range counts {
		list = append(list, fmt.Sprintf("%s %d", who, n))
	}
	if len(list) == 0 {
		return "nothing was sent"
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func (x *ExpectAnswered) judge(replies []Reply) error {
	counts := tally(replies)
	if x.Total != nil {
		total := 0
		for _, n := range counts {
			total += n
		}
		if !x.Total.Has(total) {
			return unmetf("%d requests were answered, not %v: %s", total, *x.Total, Summary(replies))
		}
		return nil
	}
	for _, s := range x.Shares {
		if n := counts[s.Server]; !s.Has(n) {
			return unmetf("%s answered %d requests, not %v: %s", s.Server, n, s.Range, Summary(replies))
		}
		delete(counts, s.Server)
	}
	if len(counts) > 0 {
		return unmetf("others answered too: %s", Summary(replies))
	}
	return nil
}

func (x *ExpectOrder) judge(replies []Reply) error {
	for i, a := range replies {
		if !x.Repeat && i >= len(x.Servers) {
			return unmetf("%d requests were made, not %d: %s", len(replies), len(x.Servers), orderOf(replies))
		}
		want := x.Servers[i%len(x.Servers)]
		if a.Server != want {
			return unmetf("request %d was answered by %s, not by %s: %s", i+1, a.who(), want, orderOf(replies))
		}
	}
	if len(replies) < len(x.Servers) {
		return unmetf("%d requests were made, not %d: %s", len(replies), len(x.Servers), orderOf(replies))
	}
	return nil
}

// who is who answered, or how the request failed.
func (a *Reply) who() string {
	switch {
	case a.Fail != "":
		return "nobody (" + string(a.Fail) + ")"
	case a.Server == "":
		return "somebody"
	}
	return a.Server
}

// orderOf lists who answered the first requests.
func orderOf(replies []Reply) string {
	const most = 24
	var list []string
	for i := range replies[:min(len(replies), most)] {
		list = append(list, replies[i].who())
	}
	if len(replies) > most {
		list = append(list, "...")
	}
	return strings.Join(list, " ")
}

func (x *ExpectOneServer) judge(replies, before []Reply) error {
	one, err := theOne(replies)
	if err != nil || x.SameAs == "" {
		return err
	}
	other, err := theOne(before)
	switch {
	case err != nil:
		return err
	case x.Other && one == other:
		return unmetf("%s answered again", one)
	case !x.Other && one != other:
		return unmetf("%s answered, and %s before", one, other)
	}
	return nil
}

// theOne is the server that answered all requests.
func theOne(replies []Reply) (string, error) {
	counts := tally(replies)
	for server, n := range counts {
		if n == len(replies) {
			return server, nil
		}
	}
	return "", unmetf("not all requests were answered by one server: %s", Summary(replies))
}

func (x *ExpectFailed) judge(replies []Reply) error {
	n := 0
	for _, a := range replies {
		if a.Fail != "" && (x.By == "" || a.Fail == x.By) {
			n++
		}
	}
	if !x.N.Has(n) {
		return unmetf("%d requests failed%s, not %v: %s", n, by(x.By), x.N, Summary(replies))
	}
	return nil
}

func by(f Failure) string {
	if f == "" {
		return ""
	}
	return " (" + string(f) + ")"
}

// judgeCounter waits a moment for a counter that is not there yet: a World in
// real time folds counters now and then.
func (r *run) judgeCounter(x *ExpectCounter) error {
	return r.retry(func() error {
		all, err := r.world.Counters(x.Node)
		if err != nil {
			return err
		}
		if n := all[x.Name]; !x.Has(int(min(n, unbounded))) {
			return unmetf("%s is %d, not %v%s", x.Name, n, x.Range, nonZero(all))
		}
		return nil
	})
}

// nonZero lists the counters that counted anything.
func nonZero(all map[string]uint64) string {
	var list []string
	for name, n := range all {
		if n > 0 {
			list = append(list, fmt.Sprintf("%s %d", name, n))
		}
	}
	slices.Sort(list)
	return wrote(strings.Join(list, "\n"))
}

func (r *run) judgeLog(x *ExpectLog) error {
	return r.retry(func() error {
		text, err := r.world.Log(x.Node)
		if err != nil {
			return err
		}
		found := false
		for line := range strings.Lines(text) {
			found = found || hasWords(line, strings.Fields(x.Text))
		}
		if found == x.No {
			return unmetf("the log of %s has %s%s", x.Node, map[bool]string{true: "such a line", false: "no such line"}[found], wrote(text))
		}
		return nil
	})
}

// hasWords reports whether a line has all the words, in any order.
func hasWords(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

func (r *run) judgeNeighbour(x *ExpectNeighbour) error {
	mac, ok, err := r.world.Neighbour(x.Node, x.Addr)
	if err != nil {
		return err
	}
	owner := "nobody"
	if ok {
		owner = r.file.Topology.nameOfMAC(mac)
	}
	node, _, _ := strings.Cut(owner, ":")
	if want := x.Owner; want == "" && ok || want != "" && node != want {
		if want == "" {
			want = "nobody"
		}
		return unmetf("%s believes that %v is at %s, not at %s", x.Node, x.Addr, owner, want)
	}
	return nil
}

// settle is how long a World may take until it can tell what has happened.
const settle = 100 * time.Millisecond

// retry asks a second time, a moment later, before it believes a failure.
func (r *run) retry(ask func() error) error {
	if ask() == nil {
		return nil
	}
	if err := r.world.Wait(settle); err != nil {
		return err
	}
	return ask()
}
