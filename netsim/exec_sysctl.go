package netsim

import (
	"fmt"
	"strconv"
	"strings"
)

// sysctlCommand runs sysctl(8): KEY=VALUE sets, KEY prints.
func (h *Host) sysctlCommand(w []string) Result {
	var out strings.Builder
	for _, word := range w {
		if strings.HasPrefix(word, "-") {
			continue
		}
		key, value, set := strings.Cut(word, "=")
		v := h.setting(strings.ReplaceAll(strings.TrimSpace(key), "/", "."))
		if v == nil {
			return failed(255, "sysctl: cannot stat %s: no such setting here", key)
		}
		if set {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				return failed(255, "sysctl: %s: %q is no number", key, value)
			}
			v.set(n)
		}
		fmt.Fprintf(&out, "%s = %d\n", key, v.get())
	}
	return Result{Stdout: out.String()}
}

// value is one setting.
type value struct {
	get func() int
	set func(int)
}

func number(p *int) *value {
	return &value{func() int { return *p }, func(v int) { *p = v }}
}

func boolean(p *bool) *value {
	return &value{
		func() int {
			if *p {
				return 1
			}
			return 0
		},
		func(v int) { *p = v != 0 },
	}
}

// setting finds a setting by its key; nil if there is none.
func (h *Host) setting(key string) *value {
	s := &h.sysctl
	switch key {
	case "net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding":
		return boolean(&s.forward4)
	case "net.ipv6.conf.all.forwarding":
		return boolean(&s.forward6)
	case "net.ipv4.icmp_echo_ignore_all":
		return boolean(&s.ignoreEcho)
	case "net.ipv4.ip_default_ttl":
		return &value{func() int { return int(s.ttl) }, func(v int) { s.ttl = uint8(v) }}
	}
	rest, ok := strings.CutPrefix(key, "net.ipv4.conf.")
	if !ok {
		return nil
	}
	i := strings.LastIndexByte(rest, '.')
	if i < 0 {
		return nil
	}
	return h.interfaceSetting(rest[:i], rest[i+1:])
}

func (h *Host) interfaceSetting(dev, name string) *value {
	var s *interfaceSettings
	switch p := h.Port(dev); {
	case dev == "all":
		s = &h.sysctl.all
	case dev == "default":
		s = &h.sysctl.def
	case p != nil:
		s = &p.sysctl
	default:
		return nil
	}
	switch name {
	case "arp_ignore":
		return number(&s.arpIgnore)
	case "arp_announce":
		return number(&s.arpAnnounce)
	case "accept_local":
		return boolean(&s.acceptLocal)
	case "rp_filter", "send_redirects", "accept_redirects", "arp_filter", "log_martians":
		return number(new(int)) // accepted, without effect: no such mechanism here
	}
	return nil
}
