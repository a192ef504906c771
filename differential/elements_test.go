package differential

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// elements are what docs/differential.md says is generated: by area, a pattern
// that finds it in a scenario.
var elements = map[string]map[string]string{
	"schedulers": {
		"one packet":                `-A .* -o`,
		"persistence":               `-A .* -p `,
		"persistent firewall mark":  `-A -f .* -p `,
		"beyond the director":       `10\.3\.1\.0/24 -j MARK`,
		"thresholds":                `-x \d+ -y`,
		"cache_bypass":              `(?s)cache_bypass=1.*10\.3\.1\.0/24 -j MARK`,
		"schedule_icmp":             `schedule_icmp=1`,
		"expire_nodest_conn":        `expire_nodest_conn=1`,
		"conn_reuse_mode":           `conn_reuse_mode=`,
		"drop_packet":               `drop_packet=`,
		"drop_packet, for good":     `drop_packet=3`,
		"drop_entry":                `drop_entry=`,
		"secure_tcp":                `secure_tcp=`,
		"scheduler changed":         `\$ ipvsadm -E .* -s `,
		"lblc and lblcr expiration": `lblcr?_expiration=`,
	},
	"states":      stateful("tunnels of both families", "FTP", "passive FTP", "active FTP", "one packet", "settings changed on the way"),
	"persistence": stateful("tunnels of both families", "SIP", "servers' calls", "FTP's port", "netmask", "one packet", "settings changed on the way"),
	"text": {
		"zero":               `ipvsadm (-Z|--zero|.* -Z|.* --zero)`,
		"zero, one service":  `ipvsadm (-Z|--zero) (-t|-u|-f|--)`,
		"round trip":         `(-S|save).* > /tmp/rules.*(-R|estore)`,
		"restored lines":     `printf .*\| ipvsadm -R`,
		"counters":           `(?s)@ 2\.5.*(--stats|--rate)`,
		"many columns":       `-L?l?.*--\S+ --\S+ --\S+`,
		"names":              `\$ ipvsadm (-L|-l|--list)( |\n|$)`,
		"--stats":            `--stats`,
		"--rate":             `--rate`,
		"--exact":            `--exact`,
		"--thresholds":       `--thresholds`,
		"--persistent-conn":  `--persistent-conn`,
		"--tun-info":         `--tun-info`,
		"--sort":             `--sort`,
		"--nosort":           `--nosort`,
		"--timeout":          `--timeout`,
		"--daemon":           `--daemon`,
		"connections":        `ipvsadm .* -c|-Lnc|--connection`,
		"/proc":              `cat /proc/net/ip_vs`,
		"odd numbers":        `99999999999|2147483648|0x10|4294967296`,
		"persistence engine": `--pe `,
	},
}

// stateful are the elements of areas that look at connections: these, and others.
func stateful(more ...string) map[string]string {
	all := map[string]string{
		"tunnels of both families":    `-a (\S+ 10\.\S+|-f \d+) -r \[fd00:3|-a (\S+ \[fd00\S+|-f \d+ -6) -r 10\.3\.`,
		"FTP":                         `modprobe ip_vs_ftp`,
		"passive FTP":                 `50415356|70617376|45505356|65707356`,
		"active FTP":                  `504f5254|45505254`,
		"one packet":                  `-[AE] .* -o`,
		"SIP":                         `--pe sip`,
		"servers' calls":              `(?m)^> s .*5349502f322e30`,
		"FTP's port":                  `-A -t \S+:21 .*-p`,
		"netmask":                     ` -M `,
		"settings changed on the way": `\$ sysctl -w`,
	}
	found := map[string]string{
		"firewall mark":             `-A -f `,
		"persistent firewall mark":  `-A -f .* -p `,
		"beyond the director":       `10\.3\.1\.0/24 -j MARK`,
		"ICMP errors":               `(?m)^> [cs] `,
		"cache_bypass":              `(?s)cache_bypass=1.*10\.3\.1\.0/24 -j MARK`,
		"schedule_icmp":             `schedule_icmp=1`,
		"expire_nodest_conn":        `expire_nodest_conn=1`,
		"expire_quiescent_template": `expire_quiescent_template=1`,
		"conn_reuse_mode":           `conn_reuse_mode=`,
		"sloppy_tcp":                `sloppy_tcp=1`,
		"sloppy_sctp":               `sloppy_sctp=1`,
		"nat_icmp_send":             `nat_icmp_send=1`,
		"drop_packet":               `drop_packet=[0-2]`,
		"drop_packet, for good":     `drop_packet=3`,
		"drop_entry":                `drop_entry=`,
		"secure_tcp":                `secure_tcp=[123]`,
	}
	for _, name := range more {
		found[name] = all[name]
	}
	return found
}

// TestEveryElementIsMet: three scenarios in a hundred at least have each.
func TestEveryElementIsMet(t *testing.T) {
	const scenarios, share = 500, 3
	for area, patterns := range elements {
		texts := []string{}
		for seed := range uint64(scenarios) {
			s, err := Generate(area, 1000+seed)
			require.NoError(t, err)
			texts = append(texts, strings.Join(s.Lines, "\n"))
		}
		for name, pattern := range patterns {
			re, n := regexp.MustCompile(pattern), 0
			for _, text := range texts {
				if re.MatchString(text) {
					n++
				}
			}
			if testing.Verbose() {
				t.Logf("%s: %s: %.1f %%", area, name, 100*float64(n)/scenarios)
			}
			assert.GreaterOrEqual(t, 100*n, share*scenarios, "%s: %s: %d of %d", area, name, n, scenarios)
		}
	}
}
