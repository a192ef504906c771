package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/keepalived"
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
	f := newFile(text)
	m := l.add("a", "192.168.1.1/24", text)
	began := time.Now()
	m.boot()
	t.Logf("to read the configuration and start: %v", time.Since(began))
	require.LessOrEqual(t, m.batches, 4)
	require.Equal(t, services, len(m.table()))

	conf, _ := f.Reader.Read()
	require.NoError(t, m.node.Reload(l.now, conf))
	f.text = changed
	batches := m.batches
	began = time.Now()
	conf, _ = f.Reader.Read()
	read := time.Since(began)
	require.NoError(t, m.node.Reload(l.now, conf))
	t.Logf("to reload with one server changed: %v, %v of it to read the configuration", time.Since(began), read)
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
	for name, next := range map[string]string{
		"weight": strings.Replace(text, "weight 1", "weight 5", 1),
		"line":   strings.Replace(text, "weight 1", "weight 1\ninhibit_on_failure", 1), // moves all others
	} {
		b.Run(name, func(b *testing.B) {
			f := newFile(text)
			m := newLab(b).add("a", "192.168.1.1/24", text)
			m.boot()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f.text = []string{next, text}[i%2]
				conf, _ := f.Reader.Read()
				if err := m.node.Reload(m.lab.now, conf); err != nil {
					b.Fatal(err)
				}
				m.takeLog()
			}
		})
	}
}

// file is a configuration that is read again and again.
type file struct {
	*keepalived.Reader
	text string
}

func newFile(text string) *file {
	f := &file{text: text}
	f.Reader = keepalived.NewReader("test.conf", keepalived.Options{Files: f, Extensions: true})
	return f
}

func (f *file) Read(name string) ([]byte, error)    { return []byte(f.text), nil }
func (f *file) Match(name string) ([]string, error) { return []string{name}, nil }
func (f *file) Executable(string) bool              { return false }

// TestReloadTranslatesWhatChanged: of what is read again and did not change, the
// Monitor sees the same values, wherever it stands.
func TestReloadTranslatesWhatChanged(t *testing.T) {
	const warned = "virtual_server 10.200.0.1 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 10.200.0.2 80 {\nPING_CHECK {\ncheck_path vip\n}\n}\n}\n"
	const tls = "virtual_server 10.200.0.3 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 10.200.0.2 80 {\nSSL_GET {\nurl {\npath /\n}\n}\n}\n}\n"
	text := large(20)
	for _, tt := range []struct {
		name, next string
		known      int
	}{
		{"nothing", text, 20},
		{"a weight", strings.Replace(text, "weight 1", "weight 5", 1), 19},
		{"a line", strings.Replace(text, "weight 1", "\nweight 1", 1), 19},
		{"a virtual server more", tls + text, 20},
		{"what is inherited", "global_defs {\nsmtp_alert off\n}\n" + text, 0},
		{"what checks are secured by", "SSL {\npassword x\n}\n" + text, 0},
		{"what is warned of", warned + text, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFile(text)
			conf, _ := f.Reader.Read()
			before, err := newPlan(conf, "host", nil)
			require.NoError(t, err)
			f.text = tt.next
			conf, _ = f.Reader.Read()
			next, err := newPlan(conf, "host", before)
			require.NoError(t, err)
			known := 0
			for _, vs := range next.health.VirtualServers {
				if slices.Contains(before.health.VirtualServers, vs) {
					known++
				}
			}
			require.Equal(t, tt.known, known)
			whole, err := newPlan(conf, "host", nil)
			require.NoError(t, err)
			require.Equal(t, whole.health, next.health)
			require.Equal(t, whole.warnings, next.warnings)

			f.text = "\n" + f.text
			conf, _ = f.Reader.Read()
			again, err := newPlan(conf, "host", next)
			require.NoError(t, err)
			require.Len(t, again.warnings, len(next.warnings), "said every time")
		})
	}
}
