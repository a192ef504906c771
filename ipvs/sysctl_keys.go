package ipvs

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A sysctlKey reads and writes one setting as its file under
// /proc/sys/net/ipv4/vs does.
type sysctlKey struct {
	name string
	get  func(*Sysctls) []int
	set  func(*Sysctls, []int)
	ok   func([]int) bool // nil: any numbers

	takes string // what ok accepts, in words
	long  bool   // 64 bits, not 32
}

// SysctlKeys returns the names of all settings, sorted.
func SysctlKeys() []string {
	names := make([]string, len(sysctlKeys))
	for i := range sysctlKeys {
		names[i] = sysctlKeys[i].name
	}
	return names
}

// Sysctl returns a setting's value as its file contains it, without the
// newline. The error is ErrNoEntry.
func (s *Sysctls) Sysctl(name string) (string, error) {
	k, err := findSysctl(name)
	if err != nil {
		return "", err
	}
	words := []string{}
	for _, v := range k.get(s) {
		words = append(words, strconv.Itoa(v))
	}
	return strings.Join(words, "\t"), nil
}

// SetSysctl changes a setting to what was written to its file. As in the kernel
// words beyond those it takes are ignored, and of those missing the old numbers
// stay. A value out of range leaves it as it was; the error is ErrInvalid then,
// or ErrNoEntry.
func (s *Sysctls) SetSysctl(name, value string) error {
	k, err := findSysctl(name)
	if err != nil {
		return err
	}
	v := k.get(s)
	words := strings.Fields(value)
	if len(words) == 0 {
		return fmt.Errorf("%s: no value: %w", name, ErrInvalid)
	}
	for i, word := range words[:min(len(words), len(v))] {
		n, ok := parseNumber(word)
		if !ok || !k.long && (n < math.MinInt32 || n > math.MaxInt32) {
			return fmt.Errorf("%s: %q is not a number it can hold: %w", name, word, ErrInvalid)
		}
		v[i] = n
	}
	if k.ok != nil && !k.ok(v) {
		return fmt.Errorf("%s: %q is out of range, it takes %s: %w", name, value, k.takes, ErrInvalid)
	}
	k.set(s, v)
	return nil
}

// parseNumber reads a number as the kernel does: decimal, octal after a 0 or
// hexadecimal after 0x, with - but without + or _.
func parseNumber(word string) (n int, ok bool) {
	digits, negative := strings.CutPrefix(word, "-")
	base := 10
	switch {
	case len(digits) > 1 && (digits[:2] == "0x" || digits[:2] == "0X"):
		digits, base = digits[2:], 16
	case len(digits) > 1 && digits[0] == '0':
		base = 8
	}
	u, err := strconv.ParseUint(digits, base, 63)
	n = int(u)
	if negative {
		n = -n
	}
	return n, err == nil
}

func findSysctl(name string) (*sysctlKey, error) {
	i, ok := slices.BinarySearchFunc(sysctlKeys, name, func(k sysctlKey, name string) int {
		return strings.Compare(k.name, name)
	})
	if !ok {
		return nil, fmt.Errorf("there is no setting %q: %w", name, ErrNoEntry)
	}
	return &sysctlKeys[i], nil
}

// sysctlKeys are sorted by name; ranges are those of ipvs.md section 9.
var sysctlKeys = []sysctlKey{
	number("am_droprate", func(s *Sysctls) *int { return &s.AMDropRate }),
	number("amemthresh", func(s *Sysctls) *int { return &s.AMemThresh }),
	number("backup_only", func(s *Sysctls) *int { return &s.BackupOnly }),
	number("cache_bypass", func(s *Sysctls) *int { return &s.CacheBypass }),
	number("conn_reuse_mode", func(s *Sysctls) *int { return &s.ConnReuseMode }),
	number("conntrack", func(s *Sysctls) *int { return &s.Conntrack }),
	number("debug_level", func(s *Sysctls) *int { return &s.DebugLevel }),
	within("drop_entry", func(s *Sysctls) *int { return &s.DropEntry }, 0, 3),
	within("drop_packet", func(s *Sysctls) *int { return &s.DropPacket }, 0, 3),
	number("expire_nodest_conn", func(s *Sysctls) *int { return &s.ExpireNodestConn }),
	number("expire_quiescent_template", func(s *Sysctls) *int { return &s.ExpireQuiescentTemplate }),
	number("ignore_tunneled", func(s *Sysctls) *int { return &s.IgnoreTunneled }),
	seconds("lblc_expiration", func(s *Sysctls) *time.Duration { return &s.LBLCExpiration }),
	seconds("lblcr_expiration", func(s *Sysctls) *time.Duration { return &s.LBLCRExpiration }),
	number("nat_icmp_send", func(s *Sysctls) *int { return &s.NATICMPSend }),
	number("pmtu_disc", func(s *Sysctls) *int { return &s.PMTUDisc }),
	number("run_estimation", func(s *Sysctls) *int { return &s.RunEstimation }),
	number("schedule_icmp", func(s *Sysctls) *int { return &s.ScheduleICMP }),
	within("secure_tcp", func(s *Sysctls) *int { return &s.SecureTCP }, 0, 3),
	number("sloppy_sctp", func(s *Sysctls) *int { return &s.SloppySCTP }),
	number("sloppy_tcp", func(s *Sysctls) *int { return &s.SloppyTCP }),
	number("snat_reroute", func(s *Sysctls) *int { return &s.SNATReroute }),
	number("sync_persist_mode", func(s *Sysctls) *int { return &s.SyncPersistMode }),
	{
		name: "sync_ports",
		get:  func(s *Sysctls) []int { return []int{s.SyncPorts} },
		set:  func(s *Sysctls, v []int) { s.SyncPorts = v[0] },
		ok:   func(v []int) bool { return v[0] > 0 && bits.OnesCount(uint(v[0])) == 1 },

		takes: "a power of two",
	},
	long(within("sync_qlen_max", func(s *Sysctls) *int { return &s.SyncQlenMax }, 0, math.MaxInt)),
	seconds("sync_refresh_period", func(s *Sysctls) *time.Duration { return &s.SyncRefreshPeriod }),
	within("sync_retries", func(s *Sysctls) *int { return &s.SyncRetries }, 0, 3),
	number("sync_sock_size", func(s *Sysctls) *int { return &s.SyncSockSize }),
	{
		name: "sync_threshold",
		get:  func(s *Sysctls) []int { return []int{s.SyncThreshold, s.SyncPeriod} },
		set:  func(s *Sysctls, v []int) { s.SyncThreshold, s.SyncPeriod = v[0], v[1] },
		ok:   func(v []int) bool { return v[0] >= 0 && v[1] >= 0 && (v[0] < v[1] || v[1] == 0) },

		takes: "a threshold and a period above it, or 0",
	},
	within("sync_version", func(s *Sysctls) *int { return &s.SyncVersion }, 0, 1),
}

func number(name string, field func(*Sysctls) *int) sysctlKey {
	return sysctlKey{
		name: name,
		get:  func(s *Sysctls) []int { return []int{*field(s)} },
		set:  func(s *Sysctls, v []int) { *field(s) = v[0] },
	}
}

func within(name string, field func(*Sysctls) *int, lo, hi int) sysctlKey {
	k := number(name, field)
	k.ok = func(v []int) bool { return lo <= v[0] && v[0] <= hi }
	k.takes = fmt.Sprintf("%d to %d", lo, hi)
	return k
}

func long(k sysctlKey) sysctlKey {
	k.long = true
	return k
}

// maxSeconds is what the recorded kernel's timers, which tick a hundred times a
// second, can hold in 32 bits.
const maxSeconds = math.MaxInt32 / 100

func seconds(name string, field func(*Sysctls) *time.Duration) sysctlKey {
	return sysctlKey{
		name:  name,
		get:   func(s *Sysctls) []int { return []int{int(*field(s) / time.Second)} },
		set:   func(s *Sysctls, v []int) { *field(s) = time.Duration(v[0]) * time.Second },
		ok:    func(v []int) bool { return -maxSeconds <= v[0] && v[0] <= maxSeconds },
		takes: fmt.Sprintf("seconds up to %d", maxSeconds),
	}
}
