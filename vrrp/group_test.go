package vrrp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// eth1 tells a node of the interface its second instance depends on.
func (n *node) eth1(l *lan, up bool) {
	n.SetInterface(l.now, Interface{Name: "eth1", Up: up})
	n.next = 0
}

// startPair is a node with the two instances of pairConfig.
func startPair(t *testing.T, l *lan, priority int) *node {
	n := &node{recorder: newRecorder(), name: "pair"}
	cfg := pairConfig(priority)
	n.Router = New(&cfg, n.recorder)
	n.recorder.send = func(_ string, packet []byte) { l.carry(n, packet) }
	l.nodes = append(l.nodes, n)
	n.eth1(l, true)
	n.SetInterface(l.now, faceOf(len(l.nodes)))
	n.Start(l.now)
	return n
}

// The words and their order are those of keepalived with the same configuration.
func TestGroupsTellAsKeepalivedDoes(t *testing.T) {
	quiet := []string{"announce", "log (VI_1) Sending", "log (VI_2) Sending", "log Sending", "add", "remove"}
	l := newLAN(t)
	a := startPair(t, l, 150)
	require.Equal(t, []string{
		"log (VI_1) removing VIPs.", "log (VI_2) removing VIPs.",
		"log (VI_1) Entering BACKUP STATE (init)", `notify INSTANCE "VI_1" BACKUP 150`,
		"log (VI_2) Entering BACKUP STATE (init)", `notify INSTANCE "VI_2" BACKUP 150`,
		`notify GROUP "G" BACKUP 0`,
	}, a.took(quiet...))
	l.run(4 * time.Second)
	require.Equal(t, []string{
		"log (VI_1) Receive advertisement timeout",
		"log (VI_2) Receive advertisement timeout",
		"send 150 to 224.0.0.18", "log (VI_2) Entering MASTER STATE", "log (VI_2) setting VIPs.", `notify INSTANCE "VI_2" MASTER 150`,
		"log VRRP_Group(G) Syncing instances to MASTER state",
		"send 150 to 224.0.0.18", "log (VI_1) Entering MASTER STATE", "log (VI_1) setting VIPs.", `notify INSTANCE "VI_1" MASTER 150`,
		`notify GROUP "G" MASTER 0`,
	}, a.took(append(quiet, "send 150 to 224.0.0.18 again")...))
	a.eth1(l, false)
	require.Equal(t, []string{
		"log Netlink reports eth1 down",
		"log (VI_2) Entering FAULT STATE",
		"send 0 to 224.0.0.18", "send 0 to 224.0.0.18", "log (VI_2) sent 0 priority", "log (VI_2) removing VIPs.",
		`notify INSTANCE "VI_2" FAULT 150`,
		"log VRRP_Group(G) Syncing instances to FAULT state",
		"log (VI_1) Entering FAULT STATE", "send 0 to 224.0.0.18", "log (VI_1) removing VIPs.",
		`notify INSTANCE "VI_1" FAULT 150`,
		`notify GROUP "G" FAULT 0`,
	}, a.took(quiet...))
	a.eth1(l, true)
	require.Equal(t, []string{
		"log Netlink reports eth1 up",
		"log (VI_2) Entering BACKUP STATE", `notify INSTANCE "VI_2" BACKUP 150`,
		"log VRRP_Group(G) Syncing instances to BACKUP state",
		"log (VI_1) Entering BACKUP STATE", `notify INSTANCE "VI_1" BACKUP 150`,
		`notify GROUP "G" BACKUP 0`,
	}, a.took(quiet...))
	l.run(4 * time.Second)
	a.took()
	a.AddressLost(l.now, "eth0", prefixes("10.9.0.102")[0].Prefix.Addr())
	require.Equal(t, []string{
		"log Netlink reflector reports IP 10.9.0.102 removed from eth0",
		"log (VI_2) Entering BACKUP STATE", "send 0 to 224.0.0.18", "log (VI_2) sent 0 priority", "log (VI_2) removing VIPs.",
		`notify INSTANCE "VI_2" BACKUP 150`,
		"log (VI_1) Entering BACKUP STATE", "send 0 to 224.0.0.18", "log (VI_1) sent 0 priority", "log (VI_1) removing VIPs.",
		`notify INSTANCE "VI_1" BACKUP 150`,
	}, a.took(quiet...))
	a.next = 0
	l.run(500 * time.Millisecond)
	require.Equal(t, Master, a.groups[0].state)
	a.took()
	a.Stop(l.now)
	require.Equal(t, []string{
		"send 0 to 224.0.0.18", "log (VI_1) sent 0 priority", "log (VI_1) removing VIPs.", `notify INSTANCE "VI_1" STOP 150`,
		"send 0 to 224.0.0.18", "log (VI_2) sent 0 priority", "log (VI_2) removing VIPs.", `notify INSTANCE "VI_2" STOP 150`,
		`notify GROUP "G" STOP 0`,
	}, a.took(quiet...))
}

// One member that hears a better master has the group follow.
func TestGroupFollowsTheMemberThatYields(t *testing.T) {
	l := newLAN(t)
	a := startPair(t, l, 100)
	l.run(4 * time.Second)
	require.Equal(t, Master, a.groups[0].state)
	only := pairConfig(150)
	only.Instances, only.Groups = only.Instances[:1], nil // VI_1 only
	l.add(only)
	l.run(8 * time.Second)
	require.Equal(t, Backup, a.groups[0].state)
	require.Equal(t, Backup, a.instances[1].state, "waits for VI_1")
	require.Equal(t, Master, a.instances[1].want)
}

func TestGroupsTrackForTheirMembers(t *testing.T) {
	cfg := pairConfig(100)
	cfg.Instances[1].Tracks = Tracks{
		Interfaces: []Track{{Name: "eth1", Weight: -10, Weighted: true}},
		Scripts:    []Track{{Name: "heavy"}, {Name: "light"}},
		Processes:  []Track{{Name: "p", Weight: 5, Weighted: true}, {Name: "q"}},
		Files:      []Track{{Name: "one"}, {Name: "two"}},
	}
	cfg.Scripts = []Script{{Name: "heavy", Weight: 10}, {Name: "light"}}
	cfg.Processes = []Process{{Name: "p"}, {Name: "q"}}
	cfg.Files = []File{{Name: "one", Weight: 1}, {Name: "two", Weight: 2}}
	cfg.Groups[0].Tracks.Interfaces = []Track{{Name: "eth2", Weight: -10, Weighted: true}}
	r := New(&cfg, newRecorder())
	got := r.instances[1].tracks
	require.Equal(t, []Track{{Name: "eth1", Weighted: true}, {Name: "eth2", Weight: -10, Weighted: true}}, got.Interfaces)
	require.Equal(t, []Track{{Name: "light"}}, got.Scripts)
	require.Equal(t, []Track{{Name: "q"}}, got.Processes)
	require.Equal(t, []Track{{Name: "one", Weighted: true}}, got.Files)

	cfg.Groups[0].TrackingWeight = true
	r = New(&cfg, newRecorder())
	require.Len(t, r.instances[1].tracks.Scripts, 2)
	require.Len(t, r.instances[0].tracks.Interfaces, 1)
}

func TestGroupsOfNobody(t *testing.T) {
	cfg := one(basic(100))
	cfg.Groups = []Group{{Name: "empty", Members: []string{"nobody"}}, {Name: "G", Members: []string{"VI_1"}}, {Name: "again", Members: []string{"VI_1"}}}
	r := New(&cfg, newRecorder())
	require.Len(t, r.groups, 1)
	require.Equal(t, "G", r.instances[0].group.Name)
}
