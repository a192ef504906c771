package vrrp

import (
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// A master that is killed has left what makes the backup take over as soon as if
// the master had stopped.
func TestFarewellOfAKilledMaster(t *testing.T) {
	for _, c := range pairs {
		t.Run(c.name, func(t *testing.T) {
			l, killed, other := pairLAN(t, c.set)
			l.run(5500 * time.Millisecond)
			require.Len(t, killed.farewells, 1)
			require.Empty(t, other.farewells)
			killed.dead = true
			for _, packets := range killed.farewells {
				for _, p := range packets {
					require.Equal(t, "eth0", p.Interface)
					l.carry(killed, p.IP)
				}
			}
			l.run(time.Second)
			require.Equal(t, Master, other.state(), other.log)
		})
	}
}

// It is left once for all adverts, but for each with AH, which counts them.
func TestFarewellIsLeftWhenItChanges(t *testing.T) {
	for auth, want := range map[Auth]int{NoAuth: 1, Pass: 1, AH: 11} {
		l := newLAN(t)
		i := basic(150)
		i.Auth, i.Password = auth, "1111"
		n := l.add(one(i))
		for n.state() != Master {
			l.run(100 * time.Millisecond)
		}
		l.run(10 * time.Second)
		require.Equal(t, want, n.bequests, auth)
	}
}

// Whatever ends a master's time ends the need for a farewell.
func TestFarewellIsWithdrawn(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"stop":    func(r *rig) { r.Stop(r.now) },
		"fault":   func(r *rig) { r.face(false) },
		"deleted": func(r *rig) { r.Reload(r.now, &Config{}) },
		"another": func(r *rig) {
			a := r.instances[0].advert(254)
			a.src = netip.MustParseAddr("10.9.0.6")
			r.Handle(r.now, Packet{Interface: "eth0", IP: a.packet([authLen]byte{})})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Master, nil)
			require.Len(t, r.farewells, 1)
			end(r)
			require.Empty(t, r.farewells)
		})
	}
	t.Run("but not by another name", func(t *testing.T) {
		r := newRig(t, Master, nil)
		i := basic(150)
		i.Name, i.Addresses = "other", prefixes("10.9.0.7")
		cfg := one(i)
		r.Reload(r.now, &cfg)
		require.Len(t, r.farewells, 1)
		for _, packets := range r.farewells {
			p, _, _ := unpack("eth0", packets[0].IP)
			require.Equal(t, "0a090007", hex.EncodeToString(p.msg[headerLen:][:4]))
		}
		r.Stop(r.now)
		require.Empty(t, r.farewells)
	})
}

// What keepalived 2.2.7 sent at its end, apart from the identification, which the
// kernel fills in.
func TestFarewellIsKeepaliveds(t *testing.T) {
	r := newRecorder()
	cfg := one(Instance{
		Name: "VI_1", Interface: "eth0", VRID: 51, Priority: 100, Auth: Pass, Password: "1111",
		Addresses: prefixes("10.9.0.100", "10.9.0.101"),
	})
	router := New(&cfg, r)
	router.SetInterface(second, faceOf(1))
	router.Start(second)
	for at := second; len(r.farewells) == 0; {
		at = router.Tick(at)
	}
	for _, packets := range r.farewells {
		require.Len(t, packets, 1)
		require.Equal(t, "213300020101668c0a0900640a0900653131313100000000", hex.EncodeToString(packets[0].IP[wire.IPv4Len:]))
	}
}
