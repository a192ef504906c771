package oracle

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"usvs/ipvs"
)

// A setting is one net.ipv4.vs key of a snapshot.
type setting struct {
	get func(*ipvs.Sysctls) int
	set func(*ipvs.Sysctls, int)
}

func flag(field func(*ipvs.Sysctls) *bool) setting {
	return setting{
		get: func(s *ipvs.Sysctls) int {
			if *field(s) {
				return 1
			}
			return 0
		},
		set: func(s *ipvs.Sysctls, v int) { *field(s) = v != 0 },
	}
}

func number(field func(*ipvs.Sysctls) *int) setting {
	return setting{
		get: func(s *ipvs.Sysctls) int { return *field(s) },
		set: func(s *ipvs.Sysctls, v int) { *field(s) = v },
	}
}

func seconds(field func(*ipvs.Sysctls) *time.Duration) setting {
	return setting{
		get: func(s *ipvs.Sysctls) int { return int(*field(s) / time.Second) },
		set: func(s *ipvs.Sysctls, v int) { *field(s) = time.Duration(v) * time.Second },
	}
}

var settings = map[string]setting{
	"cache_bypass":              flag(func(s *ipvs.Sysctls) *bool { return &s.CacheBypass }),
	"conn_reuse_mode":           number(func(s *ipvs.Sysctls) *int { return &s.ConnReuseMode }),
	"expire_nodest_conn":        flag(func(s *ipvs.Sysctls) *bool { return &s.ExpireNodestConn }),
	"expire_quiescent_template": flag(func(s *ipvs.Sysctls) *bool { return &s.ExpireQuiescentTemplate }),
	"lblc_expiration":           seconds(func(s *ipvs.Sysctls) *time.Duration { return &s.LBLCExpiration }),
	"lblcr_expiration":          seconds(func(s *ipvs.Sysctls) *time.Duration { return &s.LBLCRExpiration }),
	"nat_icmp_send":             flag(func(s *ipvs.Sysctls) *bool { return &s.NATICMPSend }),
	"pmtu_disc":                 flag(func(s *ipvs.Sysctls) *bool { return &s.PMTUDisc }),
	"schedule_icmp":             flag(func(s *ipvs.Sysctls) *bool { return &s.ScheduleICMP }),
	"secure_tcp":                number(func(s *ipvs.Sysctls) *int { return &s.SecureTCP }),
	"sloppy_sctp":               flag(func(s *ipvs.Sysctls) *bool { return &s.SloppySCTP }),
	"sloppy_tcp":                flag(func(s *ipvs.Sysctls) *bool { return &s.SloppyTCP }),
}

const sysctlPrefix = "net.ipv4.vs."

// sysctl carries out a sysctl command. Keys outside net.ipv4.vs are the
// recorded kernel's own affair.
func (w *world) sysctl(words []string, stdout io.Writer) error {
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			continue
		}
		key, value, set := strings.Cut(word, "=")
		s, ok := settings[strings.TrimPrefix(key, sysctlPrefix)]
		switch {
		case !ok && !strings.HasPrefix(key, sysctlPrefix):
			continue
		case !ok:
			return fmt.Errorf("%w: sysctl %s", errUnknownCommand, key)
		case !set:
			fmt.Fprintf(stdout, "%s = %d\n", key, s.get(&w.sysctls))
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("sysctl %s: %w", word, err)
		}
		s.set(&w.sysctls, n)
		w.ctl.SetSysctls(w.sysctls)
	}
	return nil
}
