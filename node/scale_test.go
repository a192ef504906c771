package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// large is a configuration of services with ten servers each.
func large(services int) string {
	var b strings.Builder
	for i := range services {
		fmt.Fprintf(&b, "virtual_server 10.%d.%d.1 80 {\n\tdelay_loop 10\n\tlb_algo wlc\n\tlb_kind DR\n\tprotocol TCP\n", 100+i/250, i%250)
		for j := range 10 {
			fmt.Fprintf(&b, "\treal_server 10.%d.%d.%d 80 {\n\t\tweight 1\n\t\tTCP_CHECK {\n\t\t\tconnect_timeout 3\n\t\t}\n\t}\n", i/250, i%250, 10+j)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// TestLarge: two thousand services of ten servers each start as one change of
// the director's, and one server's change is as little.
func TestLarge(t *testing.T) {
	const services = 2000
	text := large(services)
	changed := strings.Replace(text, "weight 1", "weight 5", 1)
	l := newLab(t)
	m := l.add("a", "192.168.1.1/24", text)
	began := time.Now()
	m.boot()
	t.Logf("to read the configuration and start: %v", time.Since(began))
	require.LessOrEqual(t, m.batches, 4)
	require.Equal(t, services, len(m.table()))

	conf := parsed(t, changed)
	batches := m.batches
	began = time.Now()
	require.NoError(t, m.node.Reload(l.now, conf))
	t.Logf("to reload with one server changed, parsing aside: %v", time.Since(began))
	require.Equal(t, 1, m.batches-batches)
	require.Contains(t, strings.Join(m.table(), "\n"), "10.0.0.10/5 ")
	began = time.Now()
	m.wake()
	l.run(time.Second)
	t.Logf("a second of checks: %v", time.Since(began))
}

// BenchmarkReloadOne changes one server of two thousand times ten, from the
// text to the published table.
func BenchmarkReloadOne(b *testing.B) {
	text := large(2000)
	texts := [2]string{text, strings.Replace(text, "weight 1", "weight 5", 1)}
	m := newLab(b).add("a", "192.168.1.1/24", text)
	m.boot()
	i := 0
	for b.Loop() {
		i++
		conf := parsed(b, texts[i%2])
		if err := m.node.Reload(m.lab.now, conf); err != nil {
			b.Fatal(err)
		}
		m.takeLog()
	}
}
