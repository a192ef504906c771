package keepalived

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKeywords: the tables hold exactly the keywords that keepalived knows, by
// the recording of one that was given every word of its manual and of its
// binary in every block. A word that it cannot do without a value has a "!".
func TestKeywords(t *testing.T) {
	data, err := os.ReadFile("testdata/keywords.recorded")
	require.NoError(t, err)
	ours := map[string]*table{}
	for _, tab := range rootTable.all() {
		ours[tab.name] = tab
	}
	for line := range strings.Lines(string(data)) {
		block, list, _ := strings.Cut(line, ":")
		tab := ours[block]
		require.NotNil(t, tab, block)
		var theirs []string
		for _, w := range strings.Fields(list) {
			name, fatal := strings.CutSuffix(w, "!")
			theirs = append(theirs, name)
			k := tab.words[name]
			if k == nil {
				t.Errorf("%s lacks %s", block, name)
				continue
			}
			if name == "neighbor_ip" || name == "neighbour_ip" {
				continue // without an address keepalived crashes
			}
			if block == "keepalived.conf" && name == "bfd_instance" {
				continue // so does this without a name
			}
			require.Equal(t, fatal, k.args > 0 && k.missing == Fatal, "%s %s", block, name)
		}
		for _, k := range tab.order {
			if k.name != "nb_get_retry" && k.name != "nat_mask" && !k.ours && !slices.Contains(theirs, k.name) {
				t.Errorf("keepalived's %s has no %s", block, k.name)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	names := instanceTable.names()
	for word, want := range map[string]string{
		"priorty": "priority", "virtual_router_Id": "virtual_router_id", "nopremept": "nopreempt",
		"virtual_ip_address": "virtual_ipaddress", "xyz": "", "": "", "STATE": "state",
	} {
		require.Equal(t, want, nearest(word, names), word)
	}
	require.Equal(t, 1, distance("ab", "ba"))
	require.Equal(t, 3, distance("", "abc"))
	require.Equal(t, 0, distance("same", "same"))
}

// TestTablesAreWhole: a typed keyword does something, and what has no effect
// says so.
func TestTablesAreWhole(t *testing.T) {
	for _, tab := range rootTable.all() {
		for _, k := range tab.order {
			if k.support == Ignored {
				require.True(t, k.note != "" || k.do != nil, "%s %s", tab.name, k.name)
				continue
			}
			require.True(t, k.do != nil || k.opens(), "%s %s does nothing", tab.name, k.name)
		}
	}
}
