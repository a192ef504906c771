package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// told is a history of the tutorial pair: director1 (0) is master from 4 s on,
// unless transitions say otherwise, and a request a second succeeds unless it
// is among the failed.
type told struct {
	faults string
	states []Transition
	failed map[int]Request // by the second of their beginning
	ends   []Session
}

const lasts = 120 * time.Second

func (h told) history(t *testing.T) *History {
	s, err := ParseSchedule(h.faults)
	require.NoError(t, err)
	out := &History{Schedule: s, End: lasts, Sessions: h.ends}
	out.Transitions = append([]Transition{
		{0, 0, 0, Backup}, {0, 1, 0, Backup}, {4 * time.Second, 0, 0, Master},
	}, h.states...)
	for i := 6; i < 118; i++ {
		r := Request{At: time.Duration(i) * time.Second, Took: time.Millisecond, Outcome: OK, Server: "rs1"}
		if bad, ok := h.failed[i]; ok {
			bad.At, bad.Took, bad.Outcome = r.At, patience, Timeout
			r = bad
		}
		out.Requests = append(out.Requests, r)
	}
	return out
}

func sec(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// failures are requests that fail from one second to another.
func failures(from, to int, r Request) map[int]Request {
	m := map[int]Request{}
	for i := from; i < to; i++ {
		m[i] = r
	}
	return m
}

func TestJudge(t *testing.T) {
	becomes := func(at float64, director int, s State) Transition { return Transition{sec(at), director, 0, s} }
	rs1, nobody := Request{Server: "rs1", Via: "director1"}, Request{}
	for _, c := range []struct {
		name   string
		told   told
		broken []Rule
		cause  string
	}{
		{"nothing happens", told{}, nil, ""},
		{"two masters", told{states: []Transition{becomes(20, 1, Master)}}, []Rule{OneMaster, Flapping}, ""},
		{"two masters for less than an advert", told{faults: "at 18s for 2s pause director1", states: []Transition{becomes(20, 1, Master), becomes(21, 1, Backup)}}, nil, ""},
		{"two masters that are cut off from each other",
			told{faults: "at 20s for 40s cut director1:eth0", states: []Transition{becomes(23, 1, Master), becomes(61, 1, Backup)}}, nil, ""},
		{"that stay so when they meet again",
			told{faults: "at 20s for 40s cut director1:eth0", states: []Transition{becomes(23, 1, Master), becomes(70, 1, Backup)}}, []Rule{OneMaster, Flapping}, ""},
		{"two masters without multicast",
			told{faults: "at 20s for 40s multicast net-eth0", states: []Transition{becomes(23, 1, Master), becomes(61, 1, Backup)}}, []Rule{OneMaster}, "multicast"},
		{"an outage within the bound",
			told{faults: "at 20s for 60s crash director1", states: []Transition{becomes(20, 0, Off), becomes(24, 1, Master)}, failed: failures(20, 24, nobody)}, nil, ""},
		{"an outage that nobody ends",
			told{faults: "at 20s for 80s crash director1", states: []Transition{becomes(20, 0, Off)}, failed: failures(20, 60, nobody)}, []Rule{Reachable}, "no master"},
		{"a router that believes the other",
			told{faults: "at 10s for 5s cut director1:eth0", states: []Transition{becomes(13, 1, Master), becomes(15, 1, Backup)}, failed: failures(15, 80, Request{To: "director2"})},
			[]Rule{Reachable}, "garp_master_refresh"},
		{"no promise while the master hears nothing",
			told{faults: "at 20s for 40s cut-in director1:eth0", failed: failures(20, 60, nobody)}, nil, ""},
		{"a backup that hears nothing takes the service away",
			told{faults: "at 20s for 40s cut-in director2:eth0", states: []Transition{becomes(23, 1, Master), becomes(23, 0, Backup)}, failed: failures(23, 60, nobody)},
			[]Rule{Bystander}, "deaf"},
		{"no server: no promise", told{faults: "at 20s for 40s server-dead rs1\nat 20s for 40s server-dead rs2", failed: failures(20, 62, nobody)}, nil, ""},
		{"nor beside a backup with a fault", told{faults: "at 18s for 60s cut-in director2:eth0\nat 20s for 40s server-dead rs1\nat 20s for 40s server-dead rs2",
			states: []Transition{becomes(21.5, 1, Master), becomes(21.6, 1, Backup)}, failed: failures(20, 62, nobody)}, nil, ""},
		{"a dead server is found", told{faults: "at 20s for 40s server-dead rs1", failed: failures(20, 30, rs1)}, nil, ""},
		{"a dead server is given requests", told{faults: "at 20s for 40s server-dead rs1", failed: failures(20, 40, rs1)}, []Rule{DeadServer}, ""},
		{"checks begin anew after a crash",
			told{faults: "at 20s for 40s server-dead rs1\nat 25s for 8s crash director1", failed: failures(20, 44, rs1)}, nil, ""},
		{"without the VIP", told{faults: "at 20s for 40s vip-missing rs1", failed: failures(20, 40, rs1)}, []Rule{DeadServer}, "VIP on lo"},
		{"a slow server is alive", told{faults: "at 20s for 40s server-slow rs1 3", failed: failures(20, 60, rs1)}, nil, ""},
		{"flapping", told{states: []Transition{becomes(60, 0, Backup), becomes(60.5, 0, Master)}}, []Rule{Flapping}, ""},
		{"a change with a cause", told{faults: "at 58s for 1s skew director1 1.1", states: []Transition{becomes(60, 0, Backup), becomes(60.5, 0, Master)}}, nil, ""},
		{"without lvs_sync_daemon connections end", told{faults: "at 20s for 60s crash director1", states: []Transition{becomes(20, 0, Off), becomes(23.5, 1, Master)},
			ends: []Session{{Opened: sec(6), Ended: sec(25), Outcome: Reset, Server: "rs1"}}}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, tutorial(t)...)
			found := Judge(l, NewBounds(l), c.told.history(t))
			var rules []Rule
			for _, v := range found {
				rules = append(rules, v.Rule)
				require.NotEmpty(t, v.Text)
				require.NotEmpty(t, v.Because)
			}
			require.Equal(t, c.broken, rules, "%+v", found)
			if c.cause != "" {
				require.Equal(t, c.cause, found[0].Cause)
			}
		})
	}
}

func TestJudgeConnections(t *testing.T) {
	synced := "\nglobal_defs {\nlvs_sync_daemon eth0 VI_1\n}\n"
	l := newLab(t, parsed(t, "a.conf", instance("priority 150")+synced), parsed(t, "b.conf", instance("priority 100")+synced))
	b := NewBounds(l)
	for _, c := range []struct {
		name   string
		faults string
		end    Session
		broken bool
	}{
		{"it was there to the end", "at 20s for 30s crash a", Session{Opened: sec(6)}, false},
		{"it ended at the failover", "at 20s for 30s crash a", Session{Opened: sec(6), Ended: sec(24), Outcome: Reset}, true},
		{"it had just begun", "at 20s for 30s crash a", Session{Opened: sec(19), Ended: sec(23), Outcome: Reset}, false},
		{"its server died", "at 20s for 30s server-dead rs1", Session{Opened: sec(6), Ended: sec(24), Outcome: Timeout, Server: "rs1"}, false},
		{"half a cable", "at 20s for 30s cut-in a:eth0", Session{Opened: sec(6), Ended: sec(24), Outcome: Timeout}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := told{faults: c.faults, ends: []Session{c.end}}.history(t)
			found := Judge(l, b, h)
			require.Equal(t, c.broken, len(found) > 0, "%+v", found)
			if c.broken {
				require.Equal(t, Kept, found[0].Rule)
				require.Len(t, found[0].Where, 2)
			}
		})
	}
}

func TestOutages(t *testing.T) {
	h := told{failed: failures(10, 13, Request{})}.history(t)
	h.Requests[40].Service = 1
	h.Requests[40].Outcome = Refused
	require.Equal(t, []Outage{{0, sec(10), sec(13), 3}, {1, sec(46), sec(46) + time.Millisecond, 1}}, h.Outages())
	require.Equal(t, sec(3), h.Worst().Length())
	require.Equal(t, 4, h.Failed())
}
