package demo

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/wire"
)

func TestRoundUp(t *testing.T) {
	for n, want := range map[int]int{-5: 12, 0: 12, 1: 12, 12: 12, 13: 24, 36: 36} {
		assert.Equal(t, want, roundUp(n), n)
	}
}

func TestExpectedShares(t *testing.T) {
	for mode, want := range map[string]map[string]int{
		"dr":  {"rs1": 4, "rs2": 4, "rs3": 4},
		"nat": {"rs1": 6, "rs2": 4, "rs3": 2},
		"tun": {"rs1": 6, "rs2": 3, "rs3": 3},
	} {
		assert.Equal(t, want, scenes[mode]().expected(12), mode)
	}
}

// Shares are whole numbers for every number of requests the demo makes.
func TestSharesAddUp(t *testing.T) {
	for mode, build := range scenes {
		for n := 1; n < 100; n++ {
			total := 0
			for _, share := range build().expected(roundUp(n)) {
				total += share
			}
			assert.Equal(t, roundUp(n), total, "%s, %d", mode, n)
		}
	}
}

// The scenes' networks are sound: no address twice, gateways on a LAN of the
// machine, and pictures that name every address they draw.
func TestScenesAreSound(t *testing.T) {
	assert.Len(t, scenes, len(Modes))
	for _, mode := range Modes {
		s := scenes[mode]()
		assert.Equal(t, mode, s.mode)
		seen := map[netip.Addr]bool{s.vip.Addr(): true}
		macs := map[wire.MAC]bool{}
		for _, m := range s.all() {
			for _, n := range m.nics {
				assert.False(t, seen[n.addr.Addr()], "%s %s: %v twice", mode, m.name, n.addr)
				assert.False(t, macs[n.mac()])
				assert.False(t, n.mac().IsMulticast())
				seen[n.addr.Addr()], macs[n.mac()] = true, true
				last := n.addr.Addr().String()
				last = last[strings.LastIndex(last, "."):]
				assert.Contains(t, s.picture, last, "%s: %s is drawn", mode, m.name)
			}
			if m.gateway.IsValid() {
				assert.True(t, m.nics[0].addr.Contains(m.gateway), "%s %s", mode, m.name)
				assert.True(t, seen[m.gateway] || s.find("client").addr() == m.gateway || known(s, m.gateway))
			}
		}
		assert.Contains(t, s.picture, "VIP "+s.vip.Addr().String())
		assert.NotContains(t, s.picture, "\t")
		assert.False(t, regexp.MustCompile(`(?m) $`).MatchString(s.picture), "no blanks at line ends")
		assert.Equal(t, s.mode == "nat", s.wayBack == "")
	}
	assert.Panics(t, func() { scenes["dr"]().find("router") })
}

func known(s *scene, a netip.Addr) bool { _, ok := s.owners().ips[a]; return ok }

func TestCommandsAsTyped(t *testing.T) {
	join := func(commands ...[]string) string {
		var lines []string
		for _, c := range commands {
			lines = append(lines, strings.Join(c, " "))
		}
		return strings.Join(lines, "\n")
	}
	s := scenes["nat"]()
	assert.Equal(t, "usvs run -i eth0 -i eth1", join(s.runCommand()))
	assert.Equal(t, strings.TrimSpace(`
usvs ipvsadm -A -t 10.10.100.77:80 -s wrr
usvs ipvsadm -a -t 10.10.100.77:80 -r 10.1.1.78:80 -m -w 3
usvs ipvsadm -a -t 10.10.100.77:80 -r 10.1.1.79:80 -m -w 2
usvs ipvsadm -a -t 10.10.100.77:80 -r 10.1.1.80:80 -m -w 1`), join(s.directorCommands()...))
	assert.Equal(t, "usvs realserver up --vip 10.10.100.107 --mode tun --dev eth0",
		join(scenes["tun"]().realserverCommand()))
}

func TestOptions(t *testing.T) {
	modes, err := ParseModes("all")
	assert.NoError(t, err)
	assert.Equal(t, Modes, modes)
	modes, err = ParseModes("tun,dr")
	assert.NoError(t, err)
	o := Options{Modes: modes, Requests: 7, Keep: true}
	assert.NoError(t, o.Validate())
	assert.Equal(t, "--mode tun,dr --requests 7 --keep=true --color=false", strings.Join(o.flags(), " "))
	for _, bad := range []string{"", "DR", "dr,", "dr nat"} {
		_, err := ParseModes(bad)
		assert.ErrorContains(t, err, "want all", bad)
	}
	for _, n := range []int{-1, 0, maxRequests + 1} {
		assert.Error(t, Options{Requests: n}.Validate())
	}
}
