package control

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// modes reads the defences' settings back.
func (r *rig) modes() [3]int {
	s := r.Sysctls()
	return modes(&s)
}

func (r *rig) set(settings ...string) {
	r.t.Helper()
	for i := 0; i < len(settings); i += 2 {
		r.must(r.SetSysctl(settings[i], settings[i+1]))
	}
}

// The automatic modes as recorded from Linux 6.1: they change when written, and
// else once a second; the rate follows its own setting only then.
func TestAutomaticDefences(t *testing.T) {
	free := 2000
	r := newRig(t, func(c *Config) { c.FreePages = func() int { return free } })
	require.Zero(t, r.Snapshot().DropRate)
	r.set("drop_entry", "1", "drop_packet", "1", "secure_tcp", "1")
	require.Equal(t, [3]int{1, 1, 1}, r.modes(), "1024 pages are enough")
	r.set("drop_entry", "2")
	require.Equal(t, [3]int{1, 1, 1}, r.modes(), "they still are")

	free = 512
	require.Equal(t, [3]int{1, 1, 1}, r.modes(), "not looked at yet")
	r.advance(time.Second)
	require.Equal(t, [3]int{2, 2, 2}, r.modes())
	require.Equal(t, 2, r.Snapshot().DropRate, "1024 / (1024 - 512)")
	require.Equal(t, 2, r.Snapshot().Sysctls.SecureTCP)
	free = 0
	published := r.published
	r.advance(time.Second)
	require.Equal(t, 1, r.Snapshot().DropRate, "every packet")
	require.Greater(t, r.published, published)
	published = r.published
	r.advance(10 * time.Second)
	require.Equal(t, published, r.published, "nothing new, nothing published")
	r.set("amemthresh", "-5")
	r.advance(time.Second)
	require.Equal(t, [3]int{1, 1, 1}, r.modes())
	require.Zero(t, r.Snapshot().DropRate)
	r.set("amemthresh", "1000000", "drop_packet", "0", "drop_packet", "1")
	require.Equal(t, [3]int{2, 2, 2}, r.modes(), "looked at as it is written")
}

func TestDropPacketAlways(t *testing.T) {
	r := newRig(t)
	r.set("am_droprate", "3", "drop_packet", "3")
	require.Equal(t, 3, r.Snapshot().DropRate)
	r.set("am_droprate", "7")
	require.Equal(t, 3, r.Snapshot().DropRate, "within a second")
	r.advance(time.Second)
	require.Equal(t, 7, r.Snapshot().DropRate)
	r.set("drop_packet", "0")
	require.Zero(t, r.Snapshot().DropRate)
	require.ErrorIs(t, r.SetSysctl("drop_packet", "4"), ipvs.ErrInvalid)
	require.ErrorIs(t, r.SetSysctl("nosuch", "4"), ipvs.ErrNoEntry)
	v, err := r.Sysctl("am_droprate")
	require.NoError(t, err)
	require.Equal(t, "7", v)
}

// Where nobody tells the free memory, there is a constant amount.
func TestAssumedMemory(t *testing.T) {
	r := newRig(t)
	r.set("secure_tcp", "2")
	require.Equal(t, 1, r.Sysctls().SecureTCP)
	s := r.Sysctls()
	s.AMemThresh, s.SecureTCP = 1_000_000_000, 2
	r.SetSysctls(s)
	require.Equal(t, 2, r.Sysctls().SecureTCP)
}

// backup_only needs both the setting and a backup daemon.
func TestStandby(t *testing.T) {
	r := newRig(t)
	r.set("backup_only", "1")
	require.False(t, r.Snapshot().Standby)
	r.must(r.StartDaemon(ipvs.Daemon{State: ipvs.DaemonMaster, Interface: "eth0"}))
	require.False(t, r.Snapshot().Standby)
	r.must(r.StartDaemon(ipvs.Daemon{State: ipvs.DaemonBackup, Interface: "eth0"}))
	require.True(t, r.Snapshot().Standby)
	r.set("backup_only", "0")
	require.False(t, r.Snapshot().Standby)
	r.set("backup_only", "1")
	r.must(r.StopDaemon(ipvs.DaemonBackup))
	require.False(t, r.Snapshot().Standby)
}

// Deletions count for the director while expire_nodest_conn is set only.
func TestDeletions(t *testing.T) {
	r := newRig(t)
	r.must(r.load(lines("-A -t 10.9.0.1:80 -s rr", "-a -t 10.9.0.1:80 -r 10.1.0.11", "-a -t 10.9.0.1:80 -r 10.1.0.12")))
	r.must(r.DeleteServer(web, rsA))
	require.Zero(t, r.Snapshot().Deletions)
	r.set("expire_nodest_conn", "1")
	require.Zero(t, r.Snapshot().Deletions)
	r.must(r.Flush())
	require.EqualValues(t, 1, r.Snapshot().Deletions)
}

func TestEstimationStandsStill(t *testing.T) {
	r := newRig(t)
	r.totals.In(1000, 50_000)
	r.advance(foldPeriod)
	was := r.Totals()
	require.EqualValues(t, 1000, was.InPkts)
	r.set("run_estimation", "0")
	r.totals.In(1000, 50_000)
	r.advance(5 * foldPeriod)
	require.Equal(t, was, r.Totals())
	r.set("run_estimation", "1")
	r.advance(foldPeriod)
	require.EqualValues(t, 2000, r.Totals().InPkts)
}

func TestSettingsInRulesFiles(t *testing.T) {
	r := newRig(t)
	r.must(r.load(lines(
		"sysctl -w net.ipv4.vs.sloppy_tcp=1 net.ipv4.ip_forward=1", // the second is the host's
		"sysctl -q -w net.ipv4.conf.all.arp_ignore=1",
		"sudo usvs sysctl net/ipv4/vs/sync_threshold=9",
		"sysctl net.ipv4.vs.cache_bypass",
		"echo 1 > /proc/sys/net/ipv4/ip_forward",
		"echo 2 > /proc/sys/net/ipv4/vs/conn_reuse_mode",
		"echo 1 >/proc/sys/net/ipv4/vs/conntrack",
		"-A -t 10.9.0.1:80 -s rr")))
	s := r.Sysctls()
	require.Equal(t, []int{1, 9, 50, 2, 1, 0}, []int{s.SloppyTCP, s.SyncThreshold, s.SyncPeriod, s.ConnReuseMode, s.Conntrack, s.CacheBypass})
	require.Equal(t, s, r.Snapshot().Sysctls)
	require.Contains(t, r.log.String(), "setting changed")
	require.Equal(t, 3, countLines(r.log.String(), "ignored"))
	require.Contains(t, r.log.String(), `command="sysctl net.ipv4.ip_forward=1"`)

	r.log.Reset()
	r.must(r.load(lines("sysctl -w net.ipv4.vs.sloppy_tcp=1", "sysctl -w net.ipv4.vs.conn_reuse_mode=1")))
	require.Equal(t, 1, r.Sysctls().ConnReuseMode)
	require.Equal(t, 9, r.Sysctls().SyncThreshold, "what the file does not mention stays")
	require.Equal(t, 1, countLines(r.log.String(), "setting changed"))
}

// A file that is refused for its last line has changed no setting.
func TestSettingsAreInTheTransaction(t *testing.T) {
	r := newRig(t)
	require.Error(t, r.load(lines("sysctl -w net.ipv4.vs.sloppy_tcp=1", "-d -t 10.9.0.1:80 -r 1.2.3.4")))
	require.Zero(t, r.Sysctls().SloppyTCP)
	require.Zero(t, r.Snapshot().Sysctls.SloppyTCP)
	before := r.published
	r.must(r.load(lines("sysctl -w net.ipv4.vs.drop_packet=3 net.ipv4.vs.am_droprate=4", "-A -t 10.9.0.1:80 -s rr")))
	require.Equal(t, before+1, r.published)
	require.Equal(t, 4, r.Snapshot().DropRate)
}

func countLines(text, word string) int {
	n := 0
	for _, line := range strings.Split(text, "\n") {
		if strings.Contains(line, word) {
			n++
		}
	}
	return n
}
