package fuzz

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/netsim"
	"usvs/scenario"
)

// TestSeeds plays a fixed set of seeds, in which everything occurs that can;
// `usvs sim fuzz` plays any others.
func TestSeeds(t *testing.T) {
	seeds := 160
	if testing.Short() {
		seeds = 25
	}
	cover, err := Run(Options{First: 1, Seeds: seeds, Workers: 2, Shrink: 500})
	var f *Failure
	if errors.As(err, &f) {
		t.Fatalf("%v\n\nagain with `usvs sim fuzz --seed %d --seeds 1`; the case, shrunk:\n%s", f, f.Seed, f.Case)
	}
	require.NoError(t, err)
	require.Equal(t, seeds, cover.Cases)
	if !testing.Short() {
		require.Empty(t, cover.Missing())
	}
	t.Logf("%d frames delivered", cover.Deliveries)
}

// TestCasesOfThePast plays what once went wrong, shrunk.
func TestCasesOfThePast(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			require.NoError(t, Play(string(text), 1, NewCoverage()))
		})
	}
}

func TestGenerationAndPlayRepeat(t *testing.T) {
	for seed := uint64(1); seed < 20; seed++ {
		require.Equal(t, Generate(seed), Generate(seed))
		one, two := NewCoverage(), NewCoverage()
		require.NoError(t, Play(Generate(seed), seed, one))
		require.NoError(t, Play(Generate(seed), seed, two))
		require.Equal(t, one, two, "seed %d", seed)
	}
}

// Every case is a scenario that the scenario language understands.
func TestCasesAreScenarios(t *testing.T) {
	for seed := uint64(1); seed < 100; seed++ {
		_, err := scenario.Parse("case", []byte(Generate(seed)))
		require.NoError(t, err, "seed %d", seed)
	}
}

func TestUnreadableCase(t *testing.T) {
	err := Play("nonsense\n", 1, NewCoverage())
	require.Error(t, err)
	var v *Violation
	require.False(t, errors.As(err, &v))
}

// What is left out of a case, whatever it is, must not make Play fail in
// another way: shrinking tries anything.
func TestMutilatedCases(t *testing.T) {
	lines := strings.Split(Generate(7), "\n")
	for i := range min(len(lines), 40) {
		text := strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "\n")
		var v *Violation
		require.False(t, errors.As(Play(text, 7, NewCoverage()), &v), "without line %d", i+1)
	}
	for _, line := range []string{"#! frame nobody:eth0 00", "#! frame c1:eth9 00", "#! frame director:eth0 zz", "#! super", "#! vs nonsense=1",
		"#! super director:eth0 10 00", "#! super c1:eth0 10 " + strings.Repeat("00", 80), "#! frame c1:eth0 " + strings.Repeat("00", 14)} {
		require.NoError(t, Play(Generate(7)+line+"\n", 7, NewCoverage()), line)
	}
}

func TestRunEndsInTime(t *testing.T) {
	cover, err := Run(Options{First: 1, Time: time.Nanosecond})
	require.NoError(t, err)
	require.LessOrEqual(t, cover.Cases, 1)
}

func TestCoverageTable(t *testing.T) {
	c := NewCoverage()
	require.Contains(t, c.Missing(), "scheduler rr")
	require.Contains(t, c.Missing(), "verdict drop_ttl")
	require.NotContains(t, c.Missing(), "verdict drop_fragment")
	require.NoError(t, Play(Generate(3), 3, c))
	var b strings.Builder
	c.Write(&b)
	require.Contains(t, b.String(), "state transitions")
	require.Contains(t, b.String(), "out of reach")
	require.Contains(t, b.String(), "of 574 ways")
	require.Contains(t, b.String(), "more")
}

// One bit wrong anywhere is seen, but in the ID and where two wrongs make a right.
func TestReaderSeesEveryBit(t *testing.T) {
	seg := segment{proto: protoUDP, src: at("10.0.0.9:1024"), dst: at("10.0.0.100:53"), ttl: 64, data: []byte("hello")}
	good := seg.packet()
	p, err := read4(good)
	require.NoError(t, err)
	require.True(t, p.sound())
	require.Equal(t, seg.src, p.src)
	require.Equal(t, seg.dst, p.dst)
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 4
		if p, err := read4(bad); err == nil && i != 26 && i != 27 {
			require.False(t, p.sound(), "byte %d", i)
		}
	}
}

func TestShrinkKeepsWhatMatters(t *testing.T) {
	text := strings.Join([]string{"a", "b", "c", "d", "e", "f"}, "\n")
	lines := strings.Split(text, "\n")
	tries := 100
	got := without(lines, 1, func(list []string) bool {
		all := strings.Join(list, "")
		return strings.Contains(all, "b") && strings.Contains(all, "e")
	}, &tries)
	require.Equal(t, []string{"b", "e"}, got)
	require.NotEmpty(t, Shrink(Generate(2), 2, "no such rule", 3))
}

// The ways through the state machines take turns: some seeds meet every cell.
func TestWalksTakeTurns(t *testing.T) {
	c := NewCoverage()
	const cases = 12
	for seed := range uint64(cases) {
		g := &generator{seed: seed, r: rand.New(rand.NewPCG(seed, 0))}
		g.network()
		g.carry()
		for range walksPerCase {
			g.walk()
		}
		require.NoError(t, Play(g.text.String(), seed, c))
	}
	list := walkers()
	for _, w := range list[:cases*walksPerCase] {
		require.NotZero(t, c.Cells[w.cell], w.cell)
	}
}

// Every situation leads where it is to lead.
func TestSituations(t *testing.T) {
	for _, c := range []struct {
		what func(g *generator)
		want director.Reason
	}{
		{(*generator).otherFamily, director.DropFamily},
		{(*generator).foreignRoute, director.DropForeignRoute},
		{(*generator).noEthernet, director.DropNeedsEthernet},
		{(*generator).bypassEnds, director.DropBypassLocal},
		{(*generator).defence, director.DropDefence},
		{(*generator).noKey, director.DropEngine},
		{(*generator).helperMistrusts, director.DropHelperChecksum},
		{(*generator).templateRace, director.DropTemplateRace},
		{(*generator).helperRace, director.DropHelperRace},
	} {
		for seed := range uint64(8) {
			g := &generator{seed: seed, r: rand.New(rand.NewPCG(seed, 0))}
			g.network()
			g.carry()
			c.what(g)
			cover := NewCoverage()
			require.NoError(t, Play(g.text.String(), seed, cover))
			require.NotZero(t, cover.Reasons[c.want.String()], "%v with seed %d:\n%s", c.want, seed, g.text.String())
		}
	}
}

// The director may speak ARP and ND for its own addresses only.
func TestOwnershipIsJudged(t *testing.T) {
	arp := make([]byte, 42)
	copy(arp, []byte{255, 255, 255, 255, 255, 255})
	copy(arp[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 2})
	copy(arp[28:], []byte{10, 0, 0, 177})
	nd := func(kind byte, src, target string) []byte {
		s := segment{proto: protoICMPv6, kind: [2]byte{kind, 0}, ttl: 255, src: at(src), dst: at("[ff02::1]:0")}
		s.data = append(make([]byte, 4), at(target).Addr().AsSlice()...)
		return ether([6]byte{0x33, 0x33, 0, 0, 0, 1}, [6]byte{2}, s.packet())
	}
	own, other := "[2001:db8::1]:0", "[2001:db8::177]:0"
	for name, c := range map[string]struct {
		frame []byte
		wrong bool
	}{
		"ARP":                       {arp, true},
		"ND advertisement":          {nd(neighbourAdvertisement, own, other), true},
		"ND question":               {nd(neighbourSolicitation, other, own), true},
		"ND advertisement, its own": {nd(neighbourAdvertisement, own, own), false},
		"ND question, its own":      {nd(neighbourSolicitation, own, other), false},
	} {
		n := netsim.New(1)
		d, h := n.Director("director"), n.Host("h")
		n.Link(h.NIC("eth0", "10.0.0.9/24"), d.NIC("eth0", "10.0.0.1/24", "2001:db8::1/64"))
		j := Watch(d, NewCoverage(), false)
		n.Run(time.Second)
		require.Nil(t, j.Err())
		d.Port("eth0").Inject(c.frame)
		if !c.wrong {
			require.Nil(t, j.Err(), name)
			continue
		}
		require.NotNil(t, j.Err(), name)
		require.Equal(t, "ownership", j.Err().Rule)
	}
}
