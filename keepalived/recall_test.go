package keepalived

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// disk is files that change.
type disk struct{ Text }

func (d *disk) Executable(name string) bool { return name == "/bin/true" }

func (d *disk) options() Options { return Options{Files: d, ConfigID: "vm", Dir: "/"} }

// requireSame holds what a Reader says against a reading of everything.
func requireSame(t testing.TB, d *disk, c *Config, r *Report, why string, args ...any) {
	t.Helper()
	whole, report := Parse(testFile, d.options())
	for i, vs := range c.VirtualServers { // which Parse does not know
		without := *vs
		without.Origin = Origin{}
		if i >= len(whole.VirtualServers) || !reflect.DeepEqual(&without, whole.VirtualServers[i]) {
			require.Equal(t, whole.VirtualServers, c.VirtualServers, fmt.Sprintf(why, args...))
		}
	}
	all, some := *whole, *c
	all.VirtualServers, some.VirtualServers = nil, nil
	if len(whole.VirtualServers) != len(c.VirtualServers) || !reflect.DeepEqual(all, some) || !reflect.DeepEqual(report, r) {
		require.Equal(t, report, r, fmt.Sprintf(why, args...))
		require.Equal(t, whole, c, fmt.Sprintf(why, args...))
	}
}

// TestReaderReadsWhatChanged counts the virtual servers that are read again.
func TestReaderReadsWhatChanged(t *testing.T) {
	text := large(50)
	block := text[strings.Index(text, "virtual_server"):]
	block = block[:strings.Index(block, "\n}\n")+3]
	for _, tt := range []struct {
		name  string
		next  string
		known int
	}{
		{"nothing", text, 50},
		{"a weight", strings.Replace(text, "weight 1", "weight 2", 1), 49},
		{"a line more", strings.Replace(text, "weight 1", "weight 1\ninhibit_on_failure", 1), 49},
		{"a comment at the start", "# comment\n" + text, 50},
		{"a comment between", strings.Replace(text, "}\nvirtual_server", "}\n\n! comment\nvirtual_server", 1), 49},
		{"what is inherited", strings.Replace(text, "router_id large", "smtp_alert off", 1), 0},
		{"what is not inherited", strings.Replace(text, "router_id large", "router_id small", 1), 50},
		{"the first goes", strings.Replace(text, block, "", 1), 49},
		{"the first goes last", strings.Replace(text, block, "", 1) + block, 50},
		{"the first twice", strings.Replace(text, block, block+block, 1), 50},
		{"the last brace", strings.TrimSuffix(text, "}\n"), 49},
		{"the last line ends nowhere", strings.TrimSuffix(text, "\n"), 49},
		{"a stray brace", "}\n" + text, 50},
		{"an open block", "vrrp_instance V {\n" + text, 50},
		{"a condition", strings.Replace(text, "weight 1", "@vm weight 1", 1), 49},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &disk{Text{testFile: text}}
			r := NewReader(testFile, d.options())
			first, report := r.Read()
			requireSame(t, d, first, report, "first")
			require.Zero(t, r.known)
			d.Text[testFile] = tt.next
			c, report := r.Read()
			requireSame(t, d, c, report, "next")
			require.Equal(t, tt.known, r.known)
			origins := map[Origin]*VirtualServer{}
			for _, vs := range first.VirtualServers {
				require.True(t, vs.Origin.Known())
				origins[vs.Origin] = vs
			}
			known := 0
			for _, vs := range c.VirtualServers {
				if old := origins[vs.Origin]; old != nil {
					require.Same(t, old, vs)
					known++
				}
			}
			require.Equal(t, tt.known, known)
			c, report = r.Read()
			requireSame(t, d, c, report, "the same again")
		})
	}
}

// TestReaderDoesNotRemember: what more than its own text decides about has no
// Origin.
func TestReaderDoesNotRemember(t *testing.T) {
	const server = "virtual_server 10.0.0.1 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 10.0.0.2 80 {\n%s\n}\n}\n"
	for what, known := range map[string]bool{
		"weight 1": true, "TCP_CHECK {\n}": true, "notify_up /bin/true": true, "MISC_CHECK {\nmisc_path /bin/true\n}": true, "weight 1 # one": true, `virtualhost "a b"`: true,
		"weight $W": false, "include more": false, "weight 1x": false, "@vm weight 1": false, "~SEQ(x, 2) weight $x": false,
		"HTTP_GET {\nurl {\npath /\nregex a\n}\n}": false, "FILE_CHECK {\ntrack_file f\n}": false, "BFD_CHECK {\nname b\n}": false, "snmp_name x": false,
	} {
		d := &disk{Text{"more": "weight 2\n"}}
		d.Text[testFile] = "$W=1\ntrack_file f {\nfile /tmp/f\n}\nbfd_instance b {\nneighbor_ip 10.0.0.1\n}\n" + fmt.Sprintf(server, what)
		r := NewReader(testFile, d.options())
		c, report := r.Read()
		requireSame(t, d, c, report, "%s", what)
		require.Equal(t, known, c.VirtualServers[0].Origin.Known(), what)
		d.Text[testFile] = "\n\n" + d.Text[testFile]
		c, report = r.Read()
		requireSame(t, d, c, report, "%s", what)
		require.Equal(t, known, r.known == 1, what)
	}
}

// TestReaderOfSeveralFiles: included files are remembered as well.
func TestReaderOfSeveralFiles(t *testing.T) {
	d := &disk{Text{testFile: "global_defs {\n}\ninclude a\ninclude b\n", "a": "\n" + large(5), "b": large(3)}}
	r := NewReader(testFile, d.options())
	r.Read()
	for _, tt := range []struct {
		file, text string
		known      int
	}{{"a", large(5), 8}, {"b", large(4), 8}, {testFile, "include b\ninclude a\n", 9}, {"c", "", 9}, {"b", "", 5}} {
		d.Text[tt.file] = tt.text
		c, report := r.Read()
		requireSame(t, d, c, report, "%s", tt.file)
		require.Equal(t, tt.known, r.known, tt.file)
	}
	delete(d.Text, testFile)
	c, report := r.Read()
	requireSame(t, d, c, report, "no file")
	require.Empty(t, c.VirtualServers)
}

// TestReaderIsParse edits configurations at random.
func TestReaderIsParse(t *testing.T) {
	known := 0
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		d := &disk{Text{testFile: valid(seed) + valid(seed+1000)}}
		r := NewReader(testFile, d.options())
		for step := range 6 {
			c, report := r.Read()
			requireSame(t, d, c, report, "seed %d step %d\n%s", seed, step, d.Text[testFile])
			known += r.known
			d.Text[testFile] = edited(rnd, d.Text[testFile], seed)
		}
	}
	require.Greater(t, known, 2000)
}

// edited is a text after an edit: of a line, or of many.
func edited(rnd *rand.Rand, text string, seed uint64) string {
	lines := strings.SplitAfter(text, "\n")
	i, j := rnd.IntN(len(lines)), rnd.IntN(len(lines))
	from, to := min(i, j), max(i, j)
	switch rnd.IntN(8) {
	case 0:
		lines = slices.Delete(lines, i, i+1)
	case 1:
		lines = slices.Insert(lines, i, lines[j])
	case 2:
		lines[i], lines[j] = lines[j], lines[i]
	case 3:
		lines = slices.Insert(lines, i, []string{"\n", "# comment\n", "$A=1\n", "}\n", "{\n", "@vm weight 1\n", "\"\n"}[rnd.IntN(7)])
	case 4:
		lines[i] = strings.Replace(lines[i], "1", "2", 1)
	case 5:
		lines = append(lines, slices.Clone(lines[from:to])...)
	case 6:
		return valid(seed+2000) + text
	case 7:
		g := &generator{Rand: rnd}
		lines[i] = g.mistake(lines[i], lines[j])
	}
	return strings.Join(lines, "")
}

// FuzzReader: reading one text and then another is like reading the other only.
func FuzzReader(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(valid(seed), valid(seed)+valid(seed+1))
		f.Add(valid(seed)+mutated(seed), mutated(seed)+valid(seed))
	}
	f.Add(large(3), strings.Replace(large(3), "weight 1", "weight 2\n", 1))
	f.Fuzz(func(t *testing.T, first, next string) {
		d := &disk{Text{testFile: first}}
		r := NewReader(testFile, d.options())
		r.Read()
		for _, text := range []string{next, first + next, next + first} {
			d.Text[testFile] = text
			c, report := r.Read()
			requireSame(t, d, c, report, "%s", text)
		}
	})
}

// TestMoveMovesEverything: no position of a virtual server is forgotten, and none
// from elsewhere is touched.
func TestMoveMovesEverything(t *testing.T) {
	vs, count := new(VirtualServer), 0
	eachPos(reflect.ValueOf(vs), true, func(p *Pos) { *p = Pos{"f", 12} })
	m := move{"f", 10, 20, 5}
	m.virtualServer(vs)
	eachPos(reflect.ValueOf(vs), false, func(p *Pos) { require.Equal(t, Pos{"f", 17}, *p); count++ })
	require.Greater(t, count, 80)
	for _, p := range []Pos{{"f", 9}, {"f", 21}, {"g", 12}, {}} {
		at := p
		m.at(&at)
		require.Equal(t, p, at, "inherited")
	}
}

// eachPos finds every position in v; with fill, everything is made that may be
// there.
func eachPos(v reflect.Value, fill bool, do func(*Pos)) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() && fill && v.CanSet() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		eachPos(v.Elem(), fill, do)
	case reflect.Slice:
		if fill && v.Type().Elem().Kind() != reflect.String {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		}
		for i := range v.Len() {
			eachPos(v.Index(i), fill, do)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[Pos]() {
			do(v.Addr().Interface().(*Pos))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				eachPos(v.Field(i), fill, do)
			}
		}
	}
}

// BenchmarkReadAgain reads 2,000 virtual servers of which one has changed.
func BenchmarkReadAgain(b *testing.B) {
	text := large(2000)
	for name, next := range map[string]string{
		"changed": strings.Replace(text, "weight 1", "weight 5", 1),
		"moved":   strings.Replace(text, "weight 1", "weight 1\nalpha on", 1),
	} {
		b.Run(name, func(b *testing.B) {
			texts := [2]string{text, next}
			d := &disk{Text{testFile: text}}
			r := NewReader(testFile, d.options())
			r.Read()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				d.Text[testFile] = texts[(i+1)%2]
				r.Read()
			}
		})
	}
}
