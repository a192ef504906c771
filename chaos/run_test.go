package chaos

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/keepalived"
)

func run(t testing.TB, l *Lab, o Options) *Report {
	t.Helper()
	r, err := Run(l, o)
	require.NoError(t, err)
	return r
}

func text(t testing.TB, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.Write(&b))
	return b.String()
}

// pairOf is a lab of two nodes with a service behind DR.
func pairOf(t testing.TB, a, b string) *Lab {
	return newLab(t, parsed(t, "a.conf", instance(a)), parsed(t, "b.conf", instance(b)))
}

// finding is the report's finding of a rule and cause.
func finding(t testing.TB, r *Report, rule Rule, cause string) *Finding {
	t.Helper()
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Rule == rule && f.Cause == cause {
			return f
		}
	}
	require.Fail(t, "not found", "%s because of %s:\n%s", rule, cause, text(t, r))
	return nil
}

func TestTheTutorialPairHolds(t *testing.T) {
	r := run(t, newLab(t, tutorial(t)...), Options{First: 1, Seeds: 60, Workers: 2})
	require.True(t, r.Held(), text(t, r))
	require.Greater(t, r.Requests, 3000)
	require.Greater(t, r.Failed, 100, "faults are felt")
	require.NotNil(t, r.Worst)
	require.Contains(t, text(t, r), "all rules held")
}

// TestTheOtherPairHolds: what examples/chaos says of itself.
func TestTheOtherPairHolds(t *testing.T) {
	l := newLab(t, fromFile(t, "../examples/chaos/a.conf"), fromFile(t, "../examples/chaos/b.conf"))
	faults, mistakes := Kinds()
	r := run(t, l, Options{First: 1, Seeds: 60, Workers: 2, Kinds: append(faults, mistakes...)})
	require.True(t, r.Held(), text(t, r))
	require.Less(t, r.Bounds.Elect.Seconds(), 1.1)
}

// TestSameSeedSameReport: whoever plays them, and how many at once.
func TestSameSeedSameReport(t *testing.T) {
	faults, mistakes := Kinds()
	var last string
	for _, workers := range []int{1, 3} {
		l := newLab(t, tutorial(t)...)
		r := run(t, l, Options{First: 7, Seeds: 12, Workers: workers, Kinds: append(faults, mistakes...), Shrink: 40})
		var b bytes.Buffer
		require.NoError(t, r.WriteJSON(&b))
		now := text(t, r) + b.String()
		if last != "" {
			require.Equal(t, last, now)
		}
		last = now
	}
}

// The mistakes that people make, each found within a few seeds, with the fewest
// faults that show it and the lines that are to blame.

func TestFindsDifferentIntervals(t *testing.T) {
	r := run(t, pairOf(t, "priority 100\nadvert_int 1", "priority 100\nadvert_int 2"), Options{First: 1, Seeds: 3})
	f := finding(t, r, OneMaster, "advert_int")
	require.Empty(t, f.Episode.Schedule, "it takes no fault")
	require.Contains(t, f.Because, "advertisement interval mismatch")
	require.Contains(t, f.Because, "a has 1s (a.conf:8) b has 2s (b.conf:8)")
	require.Equal(t, 3, f.Seeds)
}

func TestFindsMissingMulticast(t *testing.T) {
	r := run(t, pairOf(t, "priority 150", "priority 100"), Options{First: 1, Seeds: 3, Kinds: []Kind{NoMulticast, Cut, ServerStop}})
	f := finding(t, r, OneMaster, "multicast")
	require.Len(t, f.Episode.Schedule, 1)
	require.Equal(t, NoMulticast, f.Episode.Schedule[0].Kind)
	require.Contains(t, f.Because, "unicast_peer")
	peers := "unicast_src_ip 10.0.0.%d\nunicast_peer {\n10.0.0.%d\n}"
	unicast := pairOf(t, "priority 150\n"+strings.NewReplacer("%d\nunicast_peer", "1\nunicast_peer", "%d\n}", "2\n}").Replace(peers),
		"priority 100\n"+strings.NewReplacer("%d\nunicast_peer", "2\nunicast_peer", "%d\n}", "1\n}").Replace(peers))
	require.True(t, run(t, unicast, Options{First: 1, Seeds: 3, Kinds: []Kind{NoMulticast}}).Held(), "unicast needs none")
}

func TestFindsADeafBackupWithNoPreempt(t *testing.T) {
	r := run(t, pairOf(t, "state BACKUP\npriority 150\nnopreempt", "state BACKUP\npriority 100\nnopreempt"),
		Options{First: 1, Seeds: 20, Workers: 2, Kinds: []Kind{CutIn, CutOut, Crash}})
	f := finding(t, r, Bystander, "nopreempt")
	require.Len(t, f.Episode.Schedule, 2)
	require.Equal(t, Crash, f.Episode.Schedule[0].Kind)
	require.Equal(t, CutIn, f.Episode.Schedule[1].Kind)
	require.Contains(t, f.Because, "gave way")
	require.Equal(t, "a.conf:9", f.Where[1].String())
}

func TestFindsAMissingVIP(t *testing.T) {
	r := run(t, pairOf(t, "priority 150", "priority 100"), Options{First: 1, Seeds: 3, Kinds: []Kind{VIPMissing, Pause}})
	f := finding(t, r, DeadServer, "VIP on lo")
	require.Len(t, f.Episode.Schedule, 1)
	require.Contains(t, f.Because, "check_path vip")
}

func TestFindsServersWithoutChecks(t *testing.T) {
	conf := "virtual_server 10.0.0.100 80 {\n lb_algo rr\n lb_kind DR\n protocol TCP\n real_server 10.0.0.11 80 {\n }\n real_server 10.0.0.12 80 {\n }\n}\n"
	r := run(t, newLab(t, parsed(t, "a.conf", conf)), Options{First: 1, Seeds: 5, Kinds: []Kind{ServerStop, ServerDead}})
	f := finding(t, r, DeadServer, "no check")
	require.Len(t, f.Episode.Schedule, 1)
	require.Len(t, f.Where, 1)
}

func TestFindsDifferentRouterIDs(t *testing.T) {
	r := run(t, newLab(t, parsed(t, "a.conf", instance("priority 150")),
		parsed(t, "b.conf", strings.ReplaceAll(instance("priority 100"), "router_id 51", "router_id 52"))), Options{First: 1, Seeds: 2})
	f := finding(t, r, OneMaster, "virtual_router_id")
	require.Empty(t, f.Episode.Schedule)
	require.Len(t, f.Where, 2)
}

// TestFindsPasswords and other things that make directors drop adverts.
func TestFindsWhatDropsAdverts(t *testing.T) {
	pass := func(p string) string { return "authentication {\nauth_type PASS\nauth_pass " + p + "\n}" }
	for _, c := range []struct{ a, b, cause string }{
		{"priority 150\n" + pass("one"), "priority 100\n" + pass("two"), "auth_pass"},
		{"priority 150\n" + pass("one"), "priority 100", "auth_type"},
		{"priority 150\nversion 3", "priority 100", "version"},
		{"priority 150", "priority 100\nvirtual_ipaddress {\n10.0.0.101\n}", "virtual_ipaddress"},
	} {
		r := run(t, pairOf(t, c.a, c.b), Options{First: 1, Seeds: 1})
		f := finding(t, r, OneMaster, c.cause)
		require.Empty(t, f.Episode.Schedule)
		require.NotContains(t, f.Because, "one has", "no password is shown")
	}
}

func TestNATPair(t *testing.T) {
	first := fromFile(t, "testdata/nat.conf")
	second, err := Pair(first)
	require.NoError(t, err)
	l := newLab(t, first, second)
	r := run(t, l, Options{First: 1, Seeds: 20, Workers: 2, Kinds: []Kind{Cut, Down, Crash, Pause}})
	require.Greater(t, r.Requests, 500)
	for _, f := range r.Findings {
		require.NotEqual(t, OneMaster, f.Rule, text(t, r))
	}
}

func TestReplay(t *testing.T) {
	l := newLab(t, tutorial(t)...)
	s, err := ParseSchedule("at 10s for 10s crash director1")
	require.NoError(t, err)
	r := run(t, l, Options{First: 1, Seeds: 1, Schedule: s})
	require.Equal(t, s, r.Worst.Schedule)
	require.InDelta(t, 3.3, r.Worst.Outage.Length().Seconds(), 0.4, "director2 takes over")
	require.Contains(t, text(t, r), "(web) Entering MASTER STATE")
	_, err = Run(l, Options{Seeds: 1, Schedule: Schedule{{Kind: Crash, Node: "nobody"}}})
	require.ErrorContains(t, err, "no nobody here")
}

func TestReportForPrograms(t *testing.T) {
	r := run(t, pairOf(t, "priority 100\nadvert_int 1", "priority 100\nadvert_int 2"), Options{First: 1, Seeds: 2})
	var b bytes.Buffer
	require.NoError(t, r.WriteJSON(&b))
	var got struct {
		Held       bool
		Seeds      int
		Violations []struct {
			Rule, Because string
			Where         []struct {
				File string
				Line int
			}
		}
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &got))
	require.False(t, got.Held)
	require.Equal(t, 2, got.Seeds)
	require.Equal(t, "one master", got.Violations[0].Rule)
	require.Equal(t, "a.conf", got.Violations[0].Where[0].File)
}

// TestScriptsFindServersFailing: what happens to a server is what the scripts and
// files of its checks say, too, for as long as it lasts.
func TestScriptsFindServersFailing(t *testing.T) {
	for check, lines := range map[string][2]string{
		"MISC_CHECK {\n misc_path /bin/look\n":             {"Misc check for [[10.0.0.11]:tcp:80 VS [10.0.0.100]:tcp:80] by [/bin/look] failed", "by [/bin/look] succeeded."},
		"FILE_CHECK {\n track_file f\n weight 1 reverse\n": {"tracked file f now FAULT state", "tracked file f leaving FAULT state"},
	} {
		config := "vrrp_track_file f {\n file /run/f\n}\n" + strings.ReplaceAll(instance("priority 100"), "TCP_CHECK {\n connect_timeout 2\n retry 1\n delay_before_retry 1\n", check)
		parsedConfig, _ := keepalived.Parse("a.conf", keepalived.Options{Files: everywhereThere{keepalived.Text{"a.conf": config}}, Extensions: true})
		l := newLab(t, Input{"a.conf", parsedConfig})
		require.Contains(t, l.Describe(), "the scripts and files that check rs1 find it stopped when it is stopped or cut off")
		b := NewBounds(l)
		require.NotZero(t, b.Servers["rs1"].Stop)
		for _, fault := range []string{"server-stop", "server-dead"} {
			s, err := ParseSchedule("at 15s for 20s " + fault + " rs1\nat 18s for 2s server-dead rs2\nat 30s for 10s server-stop rs1")
			require.NoError(t, err)
			h, err := Play(l, b, s, 1)
			require.NoError(t, err)
			require.Empty(t, Judge(l, b, h))
			at := map[string]time.Duration{}
			for _, line := range h.Log {
				for _, what := range lines {
					if strings.Contains(line.Text, what) && strings.Contains(line.Text, "10.0.0.11") && line.At > 12*time.Second {
						at[what] = line.At
					}
				}
			}
			require.Less(t, at[lines[0]], 15*time.Second+b.Servers["rs1"].Dead, "%v", h.Log)
			require.GreaterOrEqual(t, at[lines[0]], 15*time.Second)
			require.GreaterOrEqual(t, at[lines[1]], 40*time.Second, "one fault ends, another does not")
		}
	}
}
