package control

import (
	"slices"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// SetSysctls replaces the settings and publishes.
func (c *Control) SetSysctls(s ipvs.Sysctls) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.sysctls
	c.sysctls = s
	c.settledLocked(was)
}

// Sysctls are the settings now. An automatic mode reads as what it has made of
// itself.
func (c *Control) Sysctls() ipvs.Sysctls {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sysctls
}

// Sysctl returns a setting's value as its file under /proc/sys/net/ipv4/vs
// contains it.
func (c *Control) Sysctl(name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sysctls.Sysctl(name)
}

// SetSysctl changes a setting to what was written to its file, and publishes.
func (c *Control) SetSysctl(name, value string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.sysctls
	if err := c.sysctls.SetSysctl(name, value); err != nil {
		return err
	}
	c.named[name] = struct{}{}
	c.settledLocked(was)
	return nil
}

// settledLocked makes changed settings take effect. Defences look at the memory
// at once when their mode is written, else within a second (ipvs.md 2.9).
func (c *Control) settledLocked(was ipvs.Sysctls) {
	if modes(&was) != modes(&c.sysctls) {
		c.defendLocked()
	}
	c.publishLocked()
}

// modes are the settings of the defences.
func modes(s *ipvs.Sysctls) [3]int { return [3]int{s.DropEntry, s.DropPacket, s.SecureTCP} }

// Modes of a defence (ipvs.md 2.9).
const (
	off = iota
	autoIdle
	autoActive
	always
)

const (
	defencePeriod = time.Second
	assumedPages  = 100_000 // free where nobody can tell, as in a simulation
)

// defence is what the memory says about drop_entry, drop_packet and secure_tcp.
type defence struct {
	run      clock.Instant // when to look again
	dropRate int
}

// defendLocked brings automatic modes in line with the memory, and reports
// whether anything changed. Afterwards a defence is on if its mode is above
// autoIdle.
func (c *Control) defendLocked() (changed bool) {
	s := &c.sysctls
	was := [4]int{s.DropEntry, s.DropPacket, s.SecureTCP, c.defence.dropRate}
	c.defence.run = clock.Never
	if modes(s) != [3]int{} {
		c.defence.run = c.cfg.Clock.Now().Add(defencePeriod)
	}
	defences := modes(s)
	threshold, missing := max(s.AMemThresh, 0), 0
	if slices.ContainsFunc(defences[:], automatic) {
		missing = threshold - c.freePages()
	}
	for _, mode := range [3]*int{&s.DropEntry, &s.DropPacket, &s.SecureTCP} {
		*mode = adjusted(*mode, missing > 0)
	}
	switch s.DropPacket {
	case always:
		c.defence.dropRate = s.AMDropRate
	case autoActive:
		c.defence.dropRate = threshold / missing
	default:
		c.defence.dropRate = 0
	}
	return was != [4]int{s.DropEntry, s.DropPacket, s.SecureTCP, c.defence.dropRate}
}

// freePages is the free memory.
func (c *Control) freePages() int {
	if c.cfg.FreePages == nil {
		return assumedPages
	}
	return c.cfg.FreePages()
}

func automatic(mode int) bool { return mode == autoIdle || mode == autoActive }

// adjusted is what an automatic mode makes of itself.
func adjusted(mode int, short bool) int {
	switch {
	case mode == autoIdle && short:
		return autoActive
	case mode == autoActive && !short:
		return autoIdle
	}
	return mode
}

// standbyLocked reports whether clients' packets are the host's own, because
// another director is the master (backup_only, ipvs.md 5.1).
func (c *Control) standbyLocked() bool {
	return c.sysctls.BackupOnly != 0 && c.daemons[ipvs.DaemonBackup-1].Load() != nil
}
