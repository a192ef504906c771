package keepalived

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lines reads a text to its logical lines.
func lines(files Text) (all []string, report *Report) {
	report = new(Report)
	r := &reader{options: Options{Files: testFiles{files}, ConfigID: "vm", Dir: "/etc"}, report: report, defs: map[string][]string{}}
	r.openFiles([]string{"main"})
	for {
		l, ok := r.next()
		if !ok {
			return all, report
		}
		all = append(all, l.text)
	}
}

func TestReader(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"comments", "a # b\nc!d\n# e\n\nf\\#g\n", "a|c|f#g"},
		{"comments and quotes", "a \"# b\" # c\n'd # e'\n", `a "# b"|'d`},
		{"braces", "a {b}c\n{ d } }\n\"{\" e{", `a|{|b|}|c|{|d|}|}|"{" e|{`},
		{"blanks", "\t a  \r\n\v\f\n b\t{", "a|b|{"},
		{"zero byte", "a\x00b\nc\n", "a|c"},
		{"conditions", "@vm a\n@other b\n@^vm c\n@^other d\n@vm\n", "a|d"},
		{"definition", "$A=1 2\n$B= ${A}x\nw $A\nw$B\n$A=3\nw $B\n", "w 1 2|w1 2x|w 3x"},
		{"no definition", "$A =1\n$1=2\nw $A $B ${B}\n", "$A =1|$1=2|w $A $B $|{|B|}"},
		{"reference", "$A=1\n${A}b $A- $A/24 $A\n", "1b $A- $A/24 1"},
		{"lines", "$A=a \\\n b \\\n c\nx\n$A\ny $A\nz $A z\n", "x|a|b|c|y a|b|c|z $A z"},
		{"lines in lines", "$A=a \\\n b\n$B=c \\\n $A\nx\n$B\n", "x|c|a|b"},
		{"lines end", "$A=a \\\n\nb\n$A\n", "b|a"},
		{"built in", "${_INSTANCE} ${_PWD} a${_HASH}b", "vm /etc a"},
		{"self", "$A=${A}x\n${A}", "$|{|A|}|x"},
		{"sequence", "~SEQ(x, 3) a$x\n~SEQ(x, 5, -2, 1) b${x}.\n~SEQ(x, -2) c$x\n~SEQx(x, 9, 11) d$x", "a1|a2|a3|b5.|b3.|b1.|c-1|c-2|d9|da|db"},
		{"nested sequence", "~SEQ(x, 2) ~SEQ(y, ${x}) ${x}${y}\n", "11|21|22"},
		{"sequence of a definition", "$N=2\n~SEQ(x, $N) a$x\n", "a1|a2"},
		{"sequence with braces", "~SEQ(x, 2) a${x} { b }\n", "a1|{|b|}|a2|{|b|}"},
		{"list", "~LST(x, a, b) ${x}1\n~LST({x,y}, {1,2}, {3}) ${x}-${y}.\n", "a1|b1|1-2.|3-."},
		{"list in lines", "$A=a${x} \\\n b${x}\n~LST(x, 1, 2) $A\n", "a1|b1|a2|b2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := lines(Text{"main": tt.text})
			require.Equal(t, tt.want, strings.Join(got, "|"))
		})
	}
}

func TestInclude(t *testing.T) {
	tests := []struct {
		name, text, want string
		status           int
	}{
		{"in its place", "a\ninclude one.conf\nb", "a|1|b", 0},
		{"pattern", "include *.conf\nb", "1|2|b", 0},
		{"braces", "include {two,one}.conf\nb", "2|1|b", 0},
		{"relative to the file", "include sub/a.inc\nb", "c|b", 0},
		{"in a loop", "~SEQ(x, 2) include one.conf\nb", "1|1|b", 0},
		{"by a definition", "$A=one\ninclude ${A}.conf", "1", 0},
		{"nothing", "include none\nb", "b", 0},
		{"includer", "includer none\nb", "b", 0},
		{"includem", "includem none\nb", "b", 6},
		{"includem with a pattern", "includem none*\nb", "b", 0},
		{"includew", "includew none*\nb", "b", 6},
		{"includeb", "includeb {none,one.conf}\nb", "1|b", 6},
		{"without a name", "include\nb", "include|b", 0},
		{"itself", "include main\nb", strings.TrimSuffix(strings.Repeat("b|", maxIncludes), "|"), 5},
	}
	files := Text{"one.conf": "1\n", "two.conf": "2", "sub/a.inc": "include b.inc", "sub/b.inc": "c"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files["main"] = tt.text
			got, report := lines(files)
			require.Equal(t, tt.want, strings.Join(got, "|"))
			require.Equal(t, tt.status, report.Status(), explainReport(report))
		})
	}
}

func TestIncludePositions(t *testing.T) {
	_, report := Parse("main", Options{Files: Text{"main": "\ninclude sub\nfoo\n", "sub": "\n\nbar\n"}})
	require.Equal(t, []Pos{{"main", 3}, {"sub", 3}}, []Pos{report.Problems[0].Pos, report.Problems[1].Pos}, "files in the order they were met")
}

func TestWords(t *testing.T) {
	tests := []struct {
		text string
		want []string
		ok   bool
	}{
		{`a b  c`, []string{"a", "b", "c"}, true},
		{`a "b c" d`, []string{"a", "b c", "d"}, true},
		{`a"b"c`, []string{"a", "b", "c"}, true},
		{`a ""`, []string{"a", ""}, true},
		{`a 'b c'`, []string{"a", "'b", "c'"}, true},
		{`a "b`, []string{"a"}, false},
		{``, nil, true},
	}
	for _, tt := range tests {
		got, ok := words(tt.text)
		require.Equal(t, tt.want, got, tt.text)
		require.Equal(t, tt.ok, ok, tt.text)
	}
}

func TestArgv(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{`a b`, []string{"a", "b"}},
		{`a'b c'"d e"f`, []string{"ab cd ef"}},
		{`'' ""`, []string{"", ""}},
		{`a\ b \x41\102\n\cA\q`, []string{"a b", "AB\n\x01q"}},
		{`\`, []string{`\`}},
	}
	for _, tt := range tests {
		got, ok := argv(tt.text)
		require.True(t, ok, tt.text)
		require.Equal(t, tt.want, got, tt.text)
	}
	_, ok := argv(`a "b`)
	require.False(t, ok)
}

func TestNoSuchFile(t *testing.T) {
	_, report := Parse("/etc/keepalived.conf", Options{Files: Text{}})
	require.Equal(t, 4, report.Status())
	require.Contains(t, report.Problems[0].String(), "/etc/keepalived/keepalived.conf")
	c, report := Parse("*.conf", Options{Files: Text{"a.conf": "", "b.conf": ""}})
	require.Zero(t, report.Status())
	require.Equal(t, []string{"a.conf", "b.conf"}, c.Files)
}

func TestAton(t *testing.T) {
	for text, want := range map[string]uint32{
		"255.255.255.0": 0xffffff00, "24": 24, "1.2": 0x01000002, "1.2.3": 0x01020003, "0x10": 16, "010.1": 0x08000001,
	} {
		got, ok := aton(text)
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", ".", "256.1", "1.2.3.4.5", "a", "-1", "1.2.3.256", "4294967296", "1_0"} {
		_, ok := aton(text)
		require.False(t, ok, text)
	}
}
