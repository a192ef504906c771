package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// pair is a site with a second director beside the first.
type pair struct {
	*site
	backup  *netnstest.Namespace
	vip     string
	floats  []string // "interface address" that move to the backup
	options string   // of usvs run
	add     []string // rest of ipvsadm -a, by server
}

func directRoutePair(t *testing.T, lab *netnstest.Lab) *pair {
	s := directRoute(t, lab)
	p := &pair{site: s, vip: "10.10.100.107", options: "-i eth0 --own host", add: []string{"10.10.100.111 -g", "10.10.100.112 -g"}}
	p.backup = s.machine("backup", "lan0 10.10.100.3/24")
	p.floats = []string{"eth0 " + p.vip + "/32"}
	s.realServersUp(p.vip, "dr")
	return p
}

func masqueradePair(t *testing.T, lab *netnstest.Lab) *pair {
	s := masquerade(t, lab)
	p := &pair{site: s, vip: "192.168.40.100", options: "-i eth0 -i eth1 --own host", add: []string{"10.1.1.78 -m", "10.1.1.79 -m"}}
	p.backup = s.machine("backup", "lan0 192.168.40.3/24", "lan1 10.1.1.3/24")
	p.floats = []string{"eth0 " + p.vip + "/32", "eth1 10.1.1.254/32"}
	for _, rs := range s.servers {
		rs.Run("ip", "route", "replace", "default", "via", "10.1.1.254")
	}
	return p
}

// start starts both directors with the same services, and the daemons between
// them.
func (p *pair) start() (master, backup *director) {
	p.t.Helper()
	p.bring(p.director)
	for i, ns := range []*netnstest.Namespace{p.director, p.backup} {
		d := startDirector(p.t, ns, p.options)
		for _, port := range []int{7, 80} {
			d.ipvsadm(fmt.Sprintf("-A -t %s:%d -s rr", p.vip, port))
			for _, rs := range p.add {
				d.ipvsadm(fmt.Sprintf("-a -t %s:%d -r %s", p.vip, port, rs))
			}
		}
		if i == 0 {
			d.ipvsadm("--start-daemon master --mcast-interface eth0 --syncid 7")
			master = d
			continue
		}
		d.ipvsadm("--start-daemon backup --mcast-interface eth0 --syncid 7")
		backup = d
	}
	return master, backup
}

// bring puts the addresses that move onto a machine, and tells the network.
func (p *pair) bring(ns *netnstest.Namespace) {
	p.t.Helper()
	for _, f := range p.floats {
		var dev, prefix string
		_, err := fmt.Sscan(f, &dev, &prefix)
		require.NoError(p.t, err)
		ns.Run("ip", "addr", "add", prefix, "dev", dev)
		ns.Run("arping", "-q", "-U", "-c", "1", "-I", dev, prefix[:len(prefix)-len("/32")])
	}
}

// die is a director's machine that loses its network and its process at once.
func (p *pair) die(d *director) {
	p.t.Helper()
	for _, f := range p.floats {
		var dev, prefix string
		_, _ = fmt.Sscan(f, &dev, &prefix)
		d.ns.SetDown(dev)
		d.ns.Run("ip", "addr", "del", prefix, "dev", dev)
	}
	d.kill()
}

func (d *director) entries() uint64 { return d.status()["connections"]["entries"] }

// A director dies; the one that was told of its connections takes its addresses
// over, and no connection notices.
func TestFailover(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "arping")
	for name, build := range map[string]func(*testing.T, *netnstest.Lab) *pair{"DR": directRoutePair, "NAT": masqueradePair} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachBackend(t, packetBackends, func(t *testing.T, lab *netnstest.Lab) { testFailover(t, build(t, lab)) })
		})
	}
}

const (
	idleConns   = 1000
	failoverLen = 20 << 20
	failoverBps = "4M" // so that transfers take five seconds
)

func testFailover(t *testing.T, p *pair) {
	master, backup := p.start()
	var dirs []string
	for _, rs := range p.servers {
		startEcho(t, rs, ":7")
		dirs = append(dirs, startNginx(t, rs, 80))
	}
	idle, servers := startTalks(t, p.client, p.vip+":7", idleConns)
	require.Equal(t, map[string]int{"rs1": idleConns / 2, "rs2": idleConns / 2}, servers)
	for _, k := range idle[:10] {
		k.assertWorks()
	}

	blob, want := makeBlob(t, failoverLen)
	for _, dir := range dirs {
		require.NoError(t, os.Mkdir(filepath.Join(dir, "www"), 0o755))
		require.NoError(t, os.Link(blob, filepath.Join(dir, "www", "blob")))
	}
	down := sha256.New()
	var transfers sync.WaitGroup
	began := time.Now()
	transfers.Go(func() { curl(t, p.client, down, "--limit-rate", failoverBps, "http://"+p.vip+"/www/blob") })
	transfers.Go(func() {
		curl(t, p.client, io.Discard, "--limit-rate", failoverBps, "--upload-file", blob, "http://"+p.vip+"/up/blob")
	})
	eventually(t, "the backup knows all connections", func() bool { return backup.entries() == idleConns+2 })
	require.Less(t, time.Since(began), 5*time.Second, "the transfers should still run")

	p.die(master)
	// A director that is late to hear of its new address must not let its host
	// answer in the meantime: that would be a reset.
	backup.pause()
	p.bring(p.backup)
	time.Sleep(500 * time.Millisecond) // until the transfers try again
	backup.resume()
	transfers.Wait()
	assert.Equal(t, want, hex.EncodeToString(down.Sum(nil)), "downloaded")
	assert.Equal(t, want, hashUpload(t, dirs), "uploaded")
	for _, k := range idle {
		k.assertWorks()
	}
	assert.Zero(t, backup.status()["sync backup"]["drop_truncated"])
	fresh := startTalk(t, p.client, p.vip+":7")
	fresh.assertWorks()
}
