package keepalived

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pieces are what files are put together from: what stands alone, what looks at
// something else, and what something else looks at.
var pieces = []string{
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.1.0.1 80 {\nTCP_CHECK {\n}\n}\n}\n",
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.1.0.1 80 {\nnotify_up /bin/true\nMISC_CHECK {\nmisc_path \"/bin/true x\"\nuser nobody\n}\n}\n}\n",
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nquorum_up /bin/true\nreal_server 10.1.0.1 80 {\nweight 2\nHTTP_GET {\nurl {\npath /\n}\n}\n}\nsorry_server 10.1.0.9 80\n}\n",
	"virtual_server fwmark %d { \n lb_algo rr \n lb_kind DR \n real_server 10.1.0.1 { \n } }\n",
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.1.0.1 80 {\nweight $W\n}\n}\n",
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.1.0.1 80 {\n@vm weight 3\n}\n}\n",
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\ninclude servers\n}\n",
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.1.0.1 80 {\nFILE_CHECK {\ntrack_file f\n}\n}\n}\n",
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 10.1.0.1 81 {\n}\n}\n",
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\n}\n",
	"virtual_server 10.0.0.%d 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 10.1.0.1 80 {\nPING_CHECK {\n}\n}\n} $GLOBAL\n",
	"virtual_server group G {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 10.1.0.1 80 {\n}\n}\n",
	"virtual_server_group G {\n10.0.1.%d 80\n}\n", "vrrp_track_file f {\nfile /tmp/%d\n}\n",
	"global_defs {\nsmtp_alert off\n}\n", "global_defs {\nchecker_log_all_failures\n}\n", "global_defs {\ncheck_path vip\n}\n",
	"global_defs {\nenable_script_security\nscript_user nobody\n}\n", "global_defs {\nrouter_id x\n}\n",
	"$W=1\n", "$W=2\n", "$GLOBAL=\\\nglobal_defs {\\\nsmtp_alert_checker off\\\n}\n", "$GLOBAL=\n", "$GLOBAL\n", "$X=a\\\n",
	"include servers\n", "include more\n", "include mo*\n", "# comment\n", "! comment {\n\n", "}\n", "{\n", "unknown {\n", "vrrp_instance V {\n", "\r\n",
	"@vm ", "@other ", "~SEQ(i, 2) ", "\"", "x\x00y\n", "}", "SSL {\npassword x\n}\n", "no newline",
}

// edit changes one file at a random place between two lines or pieces.
func (d *disk) edit(rnd *rand.Rand) {
	names := []string{testFile, testFile, "more", "servers"}
	name := names[rnd.IntN(len(names))]
	lines := strings.SplitAfter(d.Text[name], "\n")
	i := rnd.IntN(len(lines))
	switch rnd.IntN(6) {
	case 0:
		lines = slices.Delete(lines, i, min(len(lines), i+1+rnd.IntN(9)))
	case 1:
		j := min(i+rnd.IntN(60), len(lines))
		lines = append(lines, lines[i:j]...)
	case 2:
		lines = slices.Insert(lines, i, aPiece(rnd))
	case 3:
		lines = slices.Insert(lines, 0, aPiece(rnd))
	case 4:
		lines = append(lines, aPiece(rnd))
	case 5:
		n := rnd.IntN(14)
		lines = slices.Insert(lines, 0, aPiece(rnd), strings.Repeat("\n", n))
	}
	d.Text[name] = strings.Join(lines, "")
}

func aPiece(rnd *rand.Rand) string {
	i := rnd.IntN(len(pieces))
	if rnd.IntN(2) == 0 {
		i = rnd.IntN(5)
	}
	p := pieces[i]
	if strings.Contains(p, "%d") {
		p = fmt.Sprintf(p, 1+rnd.IntN(3))
	}
	return p
}

// TestReaderIsParseOfFiles edits several files that depend on each other.
func TestReaderIsParseOfFiles(t *testing.T) {
	known := 0
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		d := &disk{Text{testFile: "include more\n", "more": "", "servers": "real_server 10.1.0.1 80 {\n}\n"}}
		r := NewReader(testFile, d.options())
		for step := range 15 {
			for range 1 + rnd.IntN(3) {
				d.edit(rnd)
			}
			c, report := r.Read()
			requireSame(t, d, c, report, "seed %d step %d\n%v", seed, step, d.Text)
			known += r.known
		}
	}
	t.Logf("%d blocks were known", known)
	require.Greater(t, known, 2000)
}
