package keepalived

import (
	"strings"
	"testing"
	"time"
)

// FuzzParse: whatever the text is, reading it ends soon, says the same thing
// twice, and never gives a status without a problem.
func FuzzParse(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(valid(seed))
		f.Add(mutated(seed))
	}
	for _, text := range bombs {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, first := parseText(text)
		_, again := parseText(text)
		if explainReport(first) != explainReport(again) {
			t.Fatal("two reports differ")
		}
		errors, _ := first.Count()
		if (first.Status() == 0) != (errors == 0) {
			t.Fatalf("status %d with %d errors", first.Status(), errors)
		}
	})
}

// bombs are small texts that would be large or endless.
var bombs = map[string]string{
	"loop":            "~SEQ(x, 1, 2147483647) foo $x\n",
	"loops in loops":  "~SEQ(a, 100000) ~SEQ(b, 100000) ~SEQ(c, 100000) foo\n",
	"list of lists":   strings.Repeat("~LST(x,a,b,c,d,e,f,g,h,i) ", 30) + "foo\n",
	"braces":          strings.Repeat("{", 100_000),
	"closing":         strings.Repeat("}", 100_000),
	"blocks":          strings.Repeat("foo {\n", 50_000),
	"nested":          strings.Repeat("virtual_server 1.2.3.4 80 { real_server 1.2.3.4 80 { ", 20_000),
	"doubling":        "$aa=x\n" + doubling("$NEW=${OLD}${OLD}\n", 24),
	"doubling lines":  "$aa=x\\\n x\n" + doubling("$NEW=${OLD}\\\n ${OLD}\n", 24),
	"self":            "$a=${a}\n${a}\n$a=${b}\n$b=${a}\n${a}\n",
	"include":         "include keepalived.conf\n",
	"include twice":   "include keepalived.conf\ninclude keepalived.conf\ninclude keepalived.conf\n",
	"long line":       "foo " + strings.Repeat("x ", 500_000) + "\n",
	"no newline":      "global_defs { router_id x",
	"definition":      "$a=\\",
	"quotes":          strings.Repeat("\"", 99_999),
	"unknown members": "vrrp_sync_group G { group {" + strings.Repeat(" x", 400) + "} }\n",
}

// doubling is n definitions of which each is twice the one before.
func doubling(format string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.NewReplacer("NEW", name(i+1), "OLD", name(i)).Replace(format))
	}
	return b.String() + "${" + name(n) + "}\n"
}

func name(i int) string { return "a" + string(rune('a'+i)) }

// TestBombs: reading any of them ends, with bounded work.
func TestBombs(t *testing.T) {
	for name, text := range bombs {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				parseText(text)
			}()
			select {
			case <-done:
			case <-time.After(time.Minute): // never, unless it does not end
				t.Fatal("reading does not end")
			}
		})
	}
}
