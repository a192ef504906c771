package node

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/control"
	"usvs/ipvs"
	"usvs/keepalived"
)

// FuzzNode: whatever the configuration is, a node runs by it, is reloaded and
// stopped, and leaves neither addresses nor services behind.
func FuzzNode(f *testing.F) {
	f.Add([]byte(tutorial))
	f.Add([]byte(loud))
	f.Add([]byte(large(2)))
	for _, text := range recorded(f) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		conf, _ := keepalived.Parse("c", keepalived.Options{Files: keepalived.Text{"c": string(text)}, Extensions: true})
		if len(conf.Instances)+len(conf.VirtualServers) > 50 {
			return
		}
		l := newLab(t)
		m := l.add("a", "192.168.1.1/24", string(text))
		if _, err := New(Config{Keepalived: conf, Control: newControl(), World: m, Rand: rand.New(rand.NewPCG(1, 2))}); err != nil {
			return
		}
		m.boot()
		l.run(3 * time.Second)
		if m.node.Reload(l.now, parsed(t, tutorial)) == nil {
			m.wake()
			l.run(3 * time.Second)
		}
		if m.node.Reload(l.now, parsed(t, string(text))) == nil {
			m.wake()
			l.run(3 * time.Second)
		}
		m.node.Stop(l.now)
		require.Len(t, m.addrs, 1)
		require.Empty(t, m.table())
		snap := m.ctl.Snapshot()
		require.Zero(t, snap.Owned.Len())
	})
}

func newControl() *control.Control {
	return control.New(control.Config{Clock: labClock{newLab(nil)}, Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry), Sysctls: ipvs.DefaultSysctls()})
}

// recorded are the configurations that package keepalived has recordings of.
func recorded(t testing.TB) (texts []string) {
	for _, name := range []string{"tutorials.txt", "statements.txt", "more.txt"} {
		data, err := os.ReadFile("../keepalived/testdata/" + name)
		require.NoError(t, err)
		for part := range strings.SplitSeq("\n"+string(data), "\n=== ") {
			if _, text, ok := strings.Cut(part, "\n"); ok {
				text, _, _ = strings.Cut(text, "\n--- ")
				texts = append(texts, text)
			}
		}
	}
	return texts
}
