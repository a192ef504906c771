package differential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/differential/stage"
	"usvs/oracle"
)

func TestScenariosRepeatAndCanBePlayed(t *testing.T) {
	for _, area := range Areas() {
		for seed := range uint64(40) {
			s, err := Generate(area, seed)
			require.NoError(t, err)
			again, err := Generate(area, seed)
			require.NoError(t, err)
			require.Equal(t, s, again)
			job, steps, err := s.job()
			require.NoError(t, err, s.String())
			require.Len(t, steps, len(job.Steps))
			require.NotEmpty(t, job.Steps)
		}
	}
	_, err := Generate("weather", 1)
	require.ErrorContains(t, err, "schedulers")
}

// silent is a kernel that says nothing, whatever it is asked.
type silent struct{ asked int }

func (k *silent) Run(job []byte) ([]byte, error) {
	k.asked++
	var j stage.Job
	if err := json.Unmarshal(job, &j); err != nil {
		return nil, err
	}
	a := stage.Answer{Results: make([]stage.Result, len(j.Steps))}
	return json.Marshal(a)
}

func TestShrink(t *testing.T) {
	lines := append(topology(false), "brief",
		"% ipvsadm -A -t 10.9.0.1:80 -s rr",
		"$ ipvsadm -a -t 10.9.0.1:80 -r 10.1.0.11 -g -w 3",
		"udp 198.51.100.1:1 10.9.0.1:9999 ttl=0",
		"$ ipvsadm -Ln --exact",
		"@ 5", "$ ipvsadm -Ln")
	s := Scenario{Area: "test", Seed: 1, Lines: lines}
	k := &silent{}
	trace, d, err := Check(k, s)
	require.NoError(t, err)
	require.NotNil(t, d)
	f, err := Shrink(k, Finding{Scenario: s, Trace: trace, Difference: d}, 100)
	require.NoError(t, err)
	require.Len(t, f.Scenario.Lines, 3, f.Scenario.String())
	require.Equal(t, "udp 198.51.100.1:1 10.9.0.1:9999", f.Scenario.Lines[2])
	require.Equal(t, f.Tried+1, k.asked)
	require.LessOrEqual(t, f.Tried, 100)
	again, err := compare("again", f.Trace)
	require.NoError(t, err)
	require.Equal(t, kind(d), kind(again))
}

func TestCampaign(t *testing.T) {
	var log bytes.Buffer
	c := &Campaign{Areas: []string{"text"}, Seed: 1, N: 5, Out: t.TempDir(), Log: &log}
	require.NoError(t, c.Run(func() (Kernel, func(), error) { return &silent{}, func() {}, nil }))
	require.Equal(t, 5, c.Tally["text"].Played)
	require.Equal(t, 5, c.Tally["text"].Different, log.String())
	require.Contains(t, log.String(), "== text-1: ")
}

// forgetful answers a command one way the first time, and another way after.
type forgetful struct{ asked int }

func (k *forgetful) Run(job []byte) ([]byte, error) {
	k.asked++
	var j stage.Job
	if err := json.Unmarshal(job, &j); err != nil {
		return nil, err
	}
	a := stage.Answer{Results: make([]stage.Result, len(j.Steps))}
	for i := range a.Results {
		if k.asked == 1 {
			a.Results[i].Exit = 99
		} else {
			a.Results[i].Out = "strange"
		}
	}
	return json.Marshal(a)
}

func TestFindingsMustRecur(t *testing.T) {
	var log bytes.Buffer
	c := &Campaign{Areas: []string{"text"}, Seed: 3, N: 1, Out: t.TempDir(), Log: &log}
	k := new(forgetful)
	require.NoError(t, c.Run(func() (Kernel, func(), error) { return k, func() {}, nil }))
	require.Equal(t, 2, k.asked)
	require.Equal(t, Tally{Played: 1, Steps: c.Tally["text"].Steps, Unsteady: 1}, *c.Tally["text"], log.String())
	require.Contains(t, log.String(), "text-3: unsteady")
	require.FileExists(t, filepath.Join(c.Out, "text-3.trace"))
}

// broken is a kernel that breaks down at every job.
type broken struct{}

func (broken) Run([]byte) ([]byte, error) { return nil, fmt.Errorf("panic") }

func TestCampaignGoesOnWithANewKernel(t *testing.T) {
	boots, ends := 0, 0
	c := &Campaign{Areas: []string{"states"}, Seed: 1, N: 3, Log: new(bytes.Buffer)}
	require.NoError(t, c.Run(func() (Kernel, func(), error) {
		boots++
		return broken{}, func() { ends++ }, nil
	}))
	require.Equal(t, 3, c.Tally["states"].Lost)
	require.Equal(t, 4, boots)
	require.Equal(t, boots, ends)
}

func TestRecord(t *testing.T) {
	s := Scenario{Area: "test", Lines: []string{"full", "% true", "$ ipvsadm -Sn", "@ 2", "udp 198.51.100.1:1 10.9.0.1:9", "> c 00"}}
	steps := []int{1, 2, 3, 4, 5}
	out := stage.Emission{Link: "c", Data: build("udp 198.51.100.1:1 10.9.0.1:9")}
	a := stage.Answer{Results: []stage.Result{
		{End: 5 * time.Second},
		{Out: "a\nb", Err: "c\n", Exit: 3, Waited: 500 * time.Millisecond, End: 7 * time.Second},
		{End: 9 * time.Second},
		{End: 9 * time.Second, Frames: []stage.Emission{out}},
		{End: 10 * time.Second, Refused: true},
	}}
	got := s.record(steps, a)
	want := []string{"# test-0", "full", "% true", "@ 0.5", "$ ipvsadm -Sn", "|a", "|b", "|\\", "!c", "= 3", "@ 2.5",
		"udp 198.51.100.1:1 10.9.0.1:9 -> 0.0.0.1",
		fmt.Sprintf("> c %x", out.Data), fmt.Sprintf("< c %x", out.Data), "# longer than the link takes: > c 00", "# end"}
	require.Equal(t, want, strings.Split(strings.TrimSpace(got), "\n"))
}

func TestSlack(t *testing.T) {
	const row, late = "TCP 00:51  NONE        192.0.2.2:0        10.9.0.1:81        10.1.0.13:81", "TCP 00:57  NONE        192.0.2.2:0        10.9.0.1:81        10.1.0.13:81"
	const conn, gone = "TCP 00:51  SYN_RECV    192.0.2.2:4        10.9.0.1:81        10.1.0.13:81", "TCP 00:00  TIME_WAIT   192.0.2.2:4        10.9.0.1:81        10.1.0.13:81"
	for _, c := range []struct {
		name           string
		recorded, here []string
		adjusted       string
		unclear        bool
	}{
		{"a late template", []string{late}, []string{row}, "x\n|" + row, false},
		{"an early template", []string{row}, []string{late}, "", true},
		{"a template on one side", nil, []string{row}, "", true},
		{"a connection", []string{conn}, nil, "", false},
		{"a connection that makes way", []string{gone}, nil, "x\n# " + gone, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			what, trace := "standard output differs\n", "x"
			for _, r := range c.recorded {
				what, trace = what+"  - "+r+"\n", trace+"\n|"+r
			}
			for _, r := range c.here {
				what += "  + " + r + "\n"
			}
			adjusted, unclear := slack(trace, &oracle.Difference{Line: 1, What: what})
			require.Equal(t, c.adjusted, adjusted)
			require.Equal(t, c.unclear, unclear)
		})
	}
}

// TestSlackGrows: a template that was late every minute is late by their sum.
func TestSlackGrows(t *testing.T) {
	const row, late = "TCP 00:21  NONE        192.0.2.2:0        10.9.0.1:81        10.1.0.13:81", "TCP 00:41  NONE        192.0.2.2:0        10.9.0.1:81        10.1.0.13:81"
	d := &oracle.Difference{Line: 2, What: "standard output differs\n  - " + late + "\n  + " + row + "\n"}
	adjusted, unclear := slack("@ 60.5\n@ 30\n|"+late, d)
	require.Empty(t, adjusted)
	require.True(t, unclear)
	adjusted, unclear = slack("@ 60.5\n@ 61\n|"+late, d)
	require.Equal(t, "@ 60.5\n@ 61\n|"+row, adjusted)
	require.False(t, unclear)
}

func TestVerdict(t *testing.T) {
	f := build("tcp R 10.9.0.1:80 198.51.100.1:1")
	copy(f, []byte{2, 0, 0, 0, 0, 0xfe})
	require.Equal(t, "rst", verdict(stage.Emission{Link: "c", Data: f}))
	copy(f, []byte{2, 0, 0, 0, 0, 0xfd})
	require.Equal(t, "rst", verdict(stage.Emission{Link: "s", Data: f}))
	copy(f, []byte{2, 0, 10, 1, 0, 11})
	require.Equal(t, "10.1.0.11", verdict(stage.Emission{Link: "c", Data: f}))
	copy(f, []byte{2, 6, 0, 1, 0, 0x11})
	require.Equal(t, "mac:00010011", verdict(stage.Emission{Link: "c", Data: f}))
}

func TestDescribeTakesFramesApart(t *testing.T) {
	a, b := build("udp 198.51.100.1:1 10.9.0.1:9"), build("udp 198.51.100.1:1 10.9.0.1:9 ttl=7")
	text := Describe(&oracle.Difference{Trace: "t", Line: 3, Step: "@ 1", What: fmt.Sprintf("recorded c %x\nhere c %x", a, b)})
	require.Contains(t, text, "ttl: recorded 64, here 7")
}

// hesitant is a kernel whose template is late for so many recordings.
type hesitant struct{ late, asked int }

func (k *hesitant) Run(job []byte) ([]byte, error) {
	k.asked++
	out := "IPVS connection entries\npro expire state       source             virtual            destination\n"
	if k.asked <= k.late {
		out += "TCP 00:07  NONE        192.0.2.2:0        10.9.0.1:81        10.1.0.13:81\n"
	}
	return json.Marshal(stage.Answer{Results: []stage.Result{{}, {Out: out}}})
}

func TestUnclearScenariosArePlayedAgain(t *testing.T) {
	s := Scenario{Area: "test", Lines: append(topology(false), "$ ipvsadm -Lnc")}
	for late, clear := range []bool{0: true, 1: true, 3: true, 4: false} {
		if late == 2 {
			continue
		}
		k := &hesitant{late: late}
		_, d, err := clearly(k, s)
		require.Nil(t, d)
		require.Equal(t, clear, err == nil, err)
		require.Equal(t, min(late+1, 4), k.asked)
	}
}

func TestStalled(t *testing.T) {
	kinds := []stage.Kind{stage.Setup, stage.Frame, stage.Wait, stage.Command, stage.Frame}
	steps := []stage.Step{}
	for _, k := range kinds {
		steps = append(steps, stage.Step{Kind: k})
	}
	steps[3].Text = "ipvsadm -Lnc"
	ends := func(secs ...float64) (results []stage.Result) {
		for _, s := range secs {
			results = append(results, stage.Result{End: time.Duration(s * float64(time.Second))})
		}
		return results
	}
	require.False(t, stalled(steps, ends(1, 2.5, 30, 30.1, 30.2)), "settling and waits take their time")
	require.True(t, stalled(steps, ends(1, 2.5, 30, 31.2, 31.3)))
	waited := ends(1, 2.5, 30, 31.2, 31.3)
	waited[3].Waited = 900 * time.Millisecond
	require.False(t, stalled(steps, waited))
	steps[3].Text = "ipvsadm-restore < /tmp/rules"
	require.False(t, stalled(steps, ends(1, 2.5, 30, 31.2, 31.3)), "shows no time")
	require.True(t, stalled(steps, ends(1, 2.5, 30, 30.1, 31.2)))
}
