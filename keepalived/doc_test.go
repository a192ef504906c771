package keepalived

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the tables of keywords into docs/keepalived.md")

const (
	keywordDoc = "../docs/keepalived.md"
	tablesFrom = "<!-- from here on: go test ./keepalived -run TestKeywordDoc -update -->\n"
)

// TestKeywordDoc: the tables of the documentation are those of the package.
func TestKeywordDoc(t *testing.T) {
	text, err := os.ReadFile(keywordDoc)
	require.NoError(t, err)
	prose, shown, ok := strings.Cut(string(text), tablesFrom)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(keywordDoc, []byte(prose+tablesFrom+keywordTables()), 0o644))
		return
	}
	require.Equal(t, keywordTables(), shown, "to bring it up to date: go test ./keepalived -run TestKeywordDoc -update")
}

// keywordTables is a table for each kind of block; checks share one.
func keywordTables() string {
	var b strings.Builder
	var checks []*table
	for _, t := range rootTable.all() {
		if strings.HasSuffix(t.name, "_CHECK") || strings.HasSuffix(t.name, "_GET") || t.name == "host" {
			checks = append(checks, t)
			continue
		}
		title := "`" + t.name + "`"
		if t.root {
			title = "Outside of blocks"
		}
		fmt.Fprintf(&b, "\n### %s\n\n| keyword | value | in usvs |\n|---|---|---|\n", title)
		for _, k := range t.order {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.name, cell(k), verb(k))
		}
	}
	checkTable(&b, checks)
	return b.String()
}

func checkTable(b *strings.Builder, checks []*table) {
	fmt.Fprint(b, "\n### Checks\n\n| keyword | value | in usvs | in |\n|---|---|---|---|\n")
	type row struct{ name, value, verb string }
	var order []row
	in := map[row][]string{}
	for _, t := range checks {
		for _, k := range t.order {
			r := row{k.name, cell(k), verb(k)}
			if !slices.Contains(order, r) {
				order = append(order, r)
			}
			in[r] = append(in[r], t.name)
		}
	}
	for _, r := range order {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", r.name, r.value, r.verb, strings.Join(in[r], ", "))
	}
}

func cell(k *keyword) string {
	value := k.valid
	if value == "" && k.block != nil {
		value = "a block"
	}
	return strings.ReplaceAll(value, "|", `\|`)
}

// verb is what usvs makes of a keyword.
func verb(k *keyword) string {
	switch {
	case k.name == "nb_get_retry", k.name == "nat_mask":
		return "an error for keepalived; taken as what it meant"
	case k.ours:
		return "works; an error for keepalived, which does not know it"
	case k.support == Ignored && k.note == "":
		return "always an error, as in Debian's keepalived"
	case k.support == Ignored:
		return "checked, but of no use to usvs; a warning says so"
	case k.support == Inert:
		return "checked, but has no effect; a warning says so"
	}
	return "works"
}
