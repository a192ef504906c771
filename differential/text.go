package differential

import (
	"strconv"
	"strings"
)

// text: command lines, right and wrong, and every listing.
func text(d *draft) {
	d.add("brief")
	d.began = true
	for range d.between(2, 5) {
		d.sensible()
	}
	for range d.between(6, 22) {
		often(d, w(24, d.commandLine), w(3, d.anyListing), w(2, d.traffic), w(1, d.roundTrip), w(1, d.restored), w(1, d.procFile))()
	}
	d.ipvsadm("-Ln")
	d.ipvsadm("-Sn")
	if d.oneIn(3) {
		d.ipvsadm(pick(d, "-Ln --thresholds", "-Ln --persistent-conn", "-Ln --tun-info", "-Ln --stats", "-Ln --stats --exact", "-L --timeout", "-Lnc"))
	}
}

// Words that mean the same service or server often enough to meet again.
var (
	serviceWords = []string{"-t 10.9.0.1:80", "-t 10.9.0.1:80", "-u 10.9.0.1:53", "-t 10.9.0.2:443", "--sctp-service 10.9.0.3:5060",
		"-f 1", "-f 2", "-f 1 -6", "-t [fd00:9::1]:80", "-u [fd00:9::1]:53", "-t 10.9.0.1:0", "-u 10.9.0.1:0"}
	serverWords = []string{"10.1.0.11", "10.1.0.11:80", "10.1.0.12:80", "10.2.0.11:8080", "10.2.0.12:0", "10.1.0.12", "[fd00:1::11]:80", "fd00:1::12",
		"10.3.0.11", "[fd00:3::11]:80"}
	oddNumbers = []string{"0", "1", "2", "-1", "65535", "65536", "2147483647", "2147483648", "4294967295", "4294967296", "99999999999999999999",
		"1x", "x", "0x10", "+7", "007", "1.5", ""}
	oddAddresses = []string{"10.9.0.1", "10.9.0.1:", ":80", "10.9.0.1:65536", "10.9.0.1:-1", "10.9.0:80", "10.9:80", "0x0a090001:80", "256.1.1.1:80",
		"[fd00:9::1]", "[fd00:9::1:80", "fd00:9::1", "[fd00:9::1]:", "224.0.0.1:80", "0.0.0.0:80", "255.255.255.255:80", "127.0.0.1:80",
		"10.9.0.1:80:80", "[10.9.0.1]:80", "[::]:80", "[ff02::1]:80", "[fe80::1]:80", "10.9.0.1/32:80", "1", "1:80", "a:80", "10.9.0.1:a"}
)

// sensible adds a service, and a server for it.
func (d *draft) sensible() {
	s := pick(d, serviceWords...)
	if d.oneIn(2) {
		s = serviceWords[0]
	}
	d.ipvsadm("-A", s, d.serviceOptions())
	d.ipvsadm("-a", s, "-r", pick(d, serverWords...), d.serverWordsOptions())
}

// commandLine adds one command, mostly one that the original takes.
func (d *draft) commandLine() {
	words := d.mutated(d.command())
	if join(words...) == "" {
		words = []string{"-h"} // alone it would list names, which the machine chooses
	}
	d.ipvsadm(words...)
}

// mutated leaves most command lines as they are.
func (d *draft) mutated(words []string) []string {
	switch d.IntN(10) {
	case 0:
		words = append(words, d.strayOption())
	case 1:
		if at := d.IntN(len(words)); at > 0 || d.oneIn(4) {
			words = append(words[:at:at], words[at+1:]...)
		}
	case 2:
		d.Shuffle(len(words)-1, func(i, j int) { words[i+1], words[j+1] = words[j+1], words[i+1] })
	case 3:
		if len(words) > 1 {
			words = append(words, words[d.between(1, len(words)-1)])
		}
	}
	return words
}

// command is a command's groups of words, an option with its value each.
func (d *draft) command() []string {
	service, server := pick(d, serviceWords...), pick(d, serverWords...)
	if d.oneIn(12) {
		service = pick(d, "-t", "-u", "--sctp-service", "--tcp-service", "--udp-service") + " " + pick(d, oddAddresses...)
	}
	if d.oneIn(15) {
		service = "-f " + pick(d, oddNumbers...)
	}
	if d.oneIn(12) {
		server = pick(d, oddAddresses...)
	}
	switch n := d.IntN(100); {
	case n < 18:
		return []string{pick(d, "-A", "-A", "--add-service"), service, d.serviceOptions()}
	case n < 28:
		return []string{pick(d, "-E", "--edit-service"), service, d.serviceOptions()}
	case n < 33:
		return []string{pick(d, "-D", "--delete-service"), service}
	case n < 53:
		return []string{pick(d, "-a", "-a", "--add-server"), service, pick(d, "-r", "-r", "--real-server") + " " + server, d.serverWordsOptions()}
	case n < 63:
		return []string{pick(d, "-e", "--edit-server"), service, "-r " + server, d.serverWordsOptions()}
	case n < 68:
		return []string{pick(d, "-d", "--delete-server"), service, "-r " + server}
	case n < 72:
		return []string{"--set", d.number("900"), d.number("120"), d.number("300")}
	case n < 90:
		return d.listing(service)
	case n < 93:
		return []string{pick(d, "-Z", "--zero"), pick(d, "", service)}
	case n < 95:
		return []string{pick(d, "-C", "--clear")}
	case n < 97:
		return []string{pick(d, "-S -n", "-Sn", "--save -n")}
	default:
		return []string{pick(d, "-x", "-Q", "--bogus", "-", "--", "foo", "-nL", "-Lx", "-h", "--help", "-v", "--version", "--set")}
	}
}

// number is mostly a usual one.
func (d *draft) number(usual string) string {
	if d.oneIn(8) {
		return pick(d, oddNumbers...)
	}
	return pick(d, usual, "0", strconv.Itoa(d.between(1, 1000)))
}

func (d *draft) listing(service string) []string {
	words := []string{pick(d, "-Ln", "-Ln", "-L -n", "-l -n", "--list -n", "--list --numeric")}
	if d.oneIn(3) {
		words = append(words, pick(d, "--thresholds", "--persistent-conn", "--tun-info", "--stats", "--timeout", "--daemon", "-c", "--connection", "--rate"))
	}
	if d.oneIn(4) {
		words = append(words, pick(d, "--exact", "-X", "--sort", "--stats", service, "--thresholds", "--persistent-conn"))
	}
	return words
}

func (d *draft) serviceOptions() string {
	var words []string
	if d.oneIn(2) {
		words = append(words, pick(d, "-s", "-s", "--scheduler")+" "+often(d, w(10, pick(d, everyScheduler...)), w(1, "none"), w(1, "bogus"), w(1, "averyveryverylongname")))
	}
	if d.oneIn(3) {
		words = append(words, pick(d, "-p", "-p "+d.number("300"), "--persistent "+d.number("60"), "-p"+strconv.Itoa(d.between(1, 99)), "--persistent=50"))
	}
	if d.oneIn(5) {
		words = append(words, pick(d, "-M", "--netmask")+" "+pick(d, "255.255.255.0", "255.255.255.255", "24", "64", "128", "0", "129", "255.0.255.0", "0.0.0.0", "x"))
	}
	if d.oneIn(6) {
		words = append(words, pick(d, "-b", "--sched-flags")+" "+pick(d, "sh-port", "sh-fallback,sh-port", "mh-port", "mh-fallback", "flag-1", "flag-2,flag-3", "flag-1,flag-2,flag-3", "flag-4", "sh-port,", "bogus"))
	}
	if d.oneIn(8) {
		words = append(words, pick(d, "-o", "--ops"))
	}
	if d.oneIn(14) {
		words = append(words, "--pe "+pick(d, "sip", "bogus", "averyveryverylongname"))
	}
	return strings.Join(words, " ")
}

func (d *draft) serverWordsOptions() string {
	var words []string
	if d.oneIn(2) {
		words = append(words, pick(d, "-g", "-m", "-i", "-i", "--gatewaying", "--masquerading", "--ipip"))
	}
	if d.oneIn(2) {
		words = append(words, pick(d, "-w", "-w", "--weight")+" "+d.number("1"))
	}
	if d.oneIn(4) {
		words = append(words, pick(d, "-x", "--u-threshold")+" "+d.number("10"))
	}
	if d.oneIn(4) {
		words = append(words, pick(d, "-y", "--l-threshold")+" "+d.number("5"))
	}
	if d.oneIn(4) {
		words = append(words, "--tun-type "+pick(d, "ipip", "gre", "gue", "gue --tun-port "+d.number("6080"), "GRE", "x"))
	}
	if d.oneIn(8) {
		words = append(words, pick(d, "--tun-csum", "--tun-nocsum", "--tun-remcsum"))
	}
	return strings.Join(words, " ")
}

// strayOption is an option that may not belong.
func (d *draft) strayOption() string {
	return pick(d, "-n", "-c", "-6", "-w 1", "-s rr", "-p 5", "-M 255.255.255.0", "-r 10.1.0.11", "-m", "-g", "-i", "-o", "--stats", "--rate", "--exact",
		"--sort", "--timeout", "--daemon", "--thresholds", "-x 5", "-y 5", "--tun-type gre", "--tun-port 5", "--syncid 5", "--mcast-ttl 5",
		"--sync-maxlen 5", "-b flag-1", "--pe sip", "-t 10.9.0.1:80", "-u 10.9.0.1:80", "-f 3", "extra", "-A", "-L", "-h", "-v", "-Q", "--bogus", "-t")
}
