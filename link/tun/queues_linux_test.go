package tun

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/link/steer"
	"usvs/wire"
)

const queues = 3

func openQueues(t *testing.T, ns *netnstest.Namespace, s *steer.Steering, opts Options) []*Device {
	t.Helper()
	var ds []*Device
	var err error
	ns.Do(func() { ds, err = OpenQueues("tun0", queues, s, opts) })
	require.NoError(t, err)
	require.Len(t, ds, queues)
	return ds
}

// readQueues returns by source, for n packets to port 9, which queues they came by.
func readQueues(t *testing.T, ds []*Device, n int) map[netip.Addr][]int {
	t.Helper()
	by := map[netip.Addr][]int{}
	fs, seen := linktest.Batch(link.BatchSize), 0
	for deadline := time.Now().Add(patience); seen < n; {
		require.True(t, time.Now().Before(deadline), "%d of %d packets", seen, n)
		for i, d := range ds {
			k, err := d.ReadBatch(fs, time.Millisecond)
			require.NoError(t, err)
			for _, f := range fs[:k] {
				var p wire.Packet
				if p.Parse(f.Bytes(), f.Medium) == wire.None && p.Proto == wire.ProtoUDP && p.DstPort == 9 {
					by[p.Src] = append(by[p.Src], i)
					seen++
				}
			}
		}
	}
	return by
}

// The packets of an interface with several queues come once each, a client's all
// by the same queue, and the interface is there until the last queue is closed.
func TestQueues(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		ns, vip := lab.Namespace("a"), netip.MustParseAddr("10.9.0.1")
		s, err := steer.New(queues)
		if err != nil {
			netnstest.Skip(t, "%v", err)
		}
		defer s.Close()
		require.NoError(t, s.Own([]netip.Addr{vip}, nil))
		for _, plain := range []bool{false, true} {
			opts := Options{Plain: plain, Addresses: prefixes("10.0.0.1/24"), Routes: prefixes("10.9.0.0/16")}
			ds := openQueues(t, ns, s, opts)
			const clients, each = 40, 5
			for i := range clients {
				ns.AddAddr("tun0", fmt.Sprintf("10.0.0.%d/24", 100+i))
				for range each {
					sendFrom(t, ns, fmt.Sprintf("10.0.0.%d", 100+i), vip)
				}
			}
			used := map[int]bool{}
			for client, at := range readQueues(t, ds, clients*each) {
				require.Len(t, at, each, client)
				for _, queue := range at {
					assert.Equal(t, at[0], queue, client)
					used[queue] = true
				}
			}
			assert.Len(t, used, queues)
			for i, d := range ds {
				assert.Equal(t, ns.Link("tun0").Attrs().Index, d.Index(), "before queue %d is closed", i)
				require.NoError(t, d.Close())
			}
			_, err := ns.Netlink().LinkByName("tun0")
			assert.Error(t, err, "the last one was closed")
		}
	})
}

func sendFrom(t *testing.T, ns *netnstest.Namespace, from string, to netip.Addr) {
	t.Helper()
	conn := ns.ListenPacket("udp", from+":0")
	_, err := conn.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

// Without steering packets still come once each, whoever reads.
func TestQueuesUnsteered(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		ns := lab.Namespace("a")
		ds := openQueues(t, ns, nil, Options{Addresses: prefixes("10.0.0.1/24"), Routes: prefixes("10.9.0.0/16")})
		for range 50 {
			sendFrom(t, ns, "10.0.0.1", netip.MustParseAddr("10.9.0.1"))
		}
		readQueues(t, ds, 50)
		for _, d := range ds {
			require.NoError(t, d.Close())
		}
	})
}
