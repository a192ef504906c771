package differential

import (
	"strings"
)

// roundTrip saves the rules, mostly removes them, and restores what was saved.
func (d *draft) roundTrip() {
	const file = "/tmp/rules"
	save := pick(d, "ipvsadm -Sn", "ipvsadm -Sn", "ipvsadm -S", "ipvsadm --save --numeric", "ipvsadm-save -n", "ipvsadm-save")
	clear := pick(d, "; ipvsadm -C", "; ipvsadm -C", "; ipvsadm --clear", "")
	restore := pick(d, "ipvsadm -R", "ipvsadm -R", "ipvsadm --restore", "ipvsadm-restore")
	switch d.IntN(4) {
	case 0:
		d.add("$ %s > %s%s; cat %s | %s; ipvsadm -Sn", save, file, clear, file, restore)
	case 1:
		d.add("$ %s > %s%s; %s < %s; echo $?", save, file, clear, restore, file)
	case 2:
		d.add("$ %s | sed 's/-w 1$/-w 7/' > %s%s && %s < %s && ipvsadm -Sn", save, file, clear, restore, file)
	default:
		d.add("$ %s > %s%s; ipvsadm -Ln | wc -l; %s < %s; ipvsadm -Ln", save, file, clear, restore, file)
	}
}

// restored has a few command lines read by ipvsadm -R, with what else such a
// file may have in it.
func (d *draft) restored() {
	lines := []string{}
	for range d.between(1, 6) {
		line := join(d.mutated(d.command())...)
		switch d.IntN(12) {
		case 0:
			line = pick(d, "", "# "+line, " "+line, line+" ", "\t"+line, "ipvsadm "+line, "bogus")
		case 1:
			line = strings.ReplaceAll(line, " ", "  ")
		}
		lines = append(lines, "'"+line+"'")
	}
	d.add("$ printf '%%s\\n' %s | ipvsadm -R%s", strings.Join(lines, " "), pick(d, "", "", "; echo $?", " -n"))
}

// traffic adds packets to services that may exist, and time for the kernel to
// count them: every two seconds.
func (d *draft) traffic() {
	for range d.between(1, 6) {
		from := client(d.IntN(5), false)
		switch d.IntN(5) {
		case 0:
			d.add("udp %s:%d 10.9.0.1:53 len=%d", from, d.between(1024, 1030), d.IntN(1000))
		case 1:
			d.add("tcp %s [%s]:%d [fd00:9::1]:80", pick(d, "S", "A"), client(d.IntN(5), true), d.between(1024, 1030))
		default:
			d.add("tcp %s %s:%d %s", pick(d, "S", "S", "A", "FA", "RA"), from, d.between(1024, 1030), pick(d, "10.9.0.1:80", "10.9.0.1:80", "10.9.0.2:443"))
		}
	}
	d.add("@ 2.5")
}

// columns are what listings can be asked for, besides.
var columns = []string{"--thresholds", "--persistent-conn", "--tun-info", "--stats", "--rate", "--exact", "--sort", "--nosort", "-c", "--timeout", "--daemon"}

// anyListing is a listing with any columns, with names or numbers.
func (d *draft) anyListing() {
	words := []string{pick(d, "-Ln", "-Ln", "-Ln", "-L", "-l", "--list")}
	for _, c := range columns {
		if d.oneIn(5) {
			words = append(words, c)
		}
	}
	if d.oneIn(6) {
		words = append(words, pick(d, serviceWords...))
	}
	d.ipvsadm(words...)
}

// procFile reads one of the kernel's own listings.
func (d *draft) procFile() {
	d.add("$ cat /proc/net/%s", pick(d, "ip_vs", "ip_vs_conn", "ip_vs_stats", "ip_vs_stats_percpu", "ip_vs_conn_sync", "ip_vs_app"))
}
