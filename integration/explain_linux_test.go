package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/link/netnstest"
)

// A running director foretells whom the next connection goes to, and asking
// changes nothing.
func TestExplain(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := masquerade(t, lab)
		for _, rs := range s.servers {
			startNginx(t, rs, 80)
		}
		d := startDirector(t, s.director, "-i eth0 -i eth1")
		d.ipvsadm("-A -t 10.1.1.77:80 -s wrr",
			"-a -t 10.1.1.77:80 -r 10.1.1.78 -m -w 1",
			"-a -t 10.1.1.77:80 -r 10.1.1.79 -m -w 2")
		names := map[string]string{"chosen: 10.1.1.78:80": "rs1", "chosen: 10.1.1.79:80": "rs2"}
		browse(t, s.client, "10.1.1.77", 1) // the neighbours get known
		for range 6 {
			var answer string
			eventually(t, "asking changes nothing", func() bool { // the last connection may still be closing
				before := d.ipvsadm("-Ln")
				for range 3 {
					answer = s.director.Run(program(), "explain", "tcp 192.168.40.9:40000 > 10.1.1.77:80 S")
				}
				return before == d.ipvsadm("-Ln")
			})
			foretold := ""
			for text, name := range names {
				if strings.Contains(answer, text) {
					foretold = name
				}
			}
			assert.Equal(t, []string{foretold}, browse(t, s.client, "10.1.1.77", 1), answer)
		}
	})
}
