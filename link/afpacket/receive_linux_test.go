package afpacket

import (
	"encoding/binary"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/internal/waiter"
	"usvs/link/linktest"
	"usvs/link/vnet"
	"usvs/wire"
)

func TestInsertTag(t *testing.T) {
	const valid, hasTPID = unix.TP_STATUS_VLAN_VALID, unix.TP_STATUS_VLAN_TPID_VALID
	addrs := "ddddddssssss"
	for _, tc := range []struct {
		name, frame string
		aux         unix.TpacketAuxdata
		want        string
	}{
		{"802.1Q", addrs + "\x08\x00data", unix.TpacketAuxdata{Status: valid | hasTPID, Vlan_tpid: 0x8100, Vlan_tci: 0x602a},
			addrs + "\x81\x00\x60\x2a\x08\x00data"},
		{"802.1ad", addrs + "\x08\x00data", unix.TpacketAuxdata{Status: valid | hasTPID, Vlan_tpid: 0x88a8, Vlan_tci: 1},
			addrs + "\x88\xa8\x00\x01\x08\x00data"},
		{"no TPID said", addrs + "\x08\x00", unix.TpacketAuxdata{Status: valid, Vlan_tci: 7}, addrs + "\x81\x00\x00\x07\x08\x00"},
		{"addresses only", addrs, unix.TpacketAuxdata{Status: valid, Vlan_tci: 7}, addrs + "\x81\x00\x00\x07"},
		{"cut short", addrs[:11], unix.TpacketAuxdata{Status: valid, Vlan_tci: 7}, addrs[:11]},
		{"empty", "", unix.TpacketAuxdata{Status: valid}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := wire.NewFrame(100)
			f.SetBytes([]byte(tc.frame))
			f.Partial, f.CsumStart = true, 4
			insertTag(f, tc.aux)
			assert.Equal(t, tc.want, string(f.Bytes()))
			assert.EqualValues(t, 4+len(tc.want)-len(tc.frame), f.CsumStart, "the offset moves along")
		})
	}
}

// bareDevice is enough of a device to receive from any descriptor.
func bareDevice(t testing.TB, rx int) *Device {
	wait, err := waiter.New(func() {})
	require.NoError(t, err)
	d := &Device{rx: rx, wait: wait, log: new(linktest.Log).Logger()}
	d.slots, d.msgs = newReceiveSlots(4)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// An error nobody thought of neither spins nor hides a wake-up.
func TestUnknownReceiveErrors(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	_, err = w.Write([]byte("readable, but no socket"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	d := bareDevice(t, int(r.Fd()))
	var log linktest.Log
	d.log = log.Logger()
	n, err := d.ReadBatch(linktest.Batch(1), 2*errorPause)
	assert.Zero(t, n)
	assert.NoError(t, err)
	assert.True(t, log.Has("socket operation on non-socket"))
	time.AfterFunc(3*errorPause/2, d.Wake)
	_, err = d.ReadBatch(linktest.Batch(1), -1)
	assert.NoError(t, err)
}

// FuzzAccept: whatever the kernel says about a frame, it is dropped or its
// metadata lies inside it.
func FuzzAccept(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 100, 0, 34, 0, 16, 0}, uint8(0), uint32(200), uint32(0x51), uint16(42), false)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint8(3), uint32(60), uint32(0), uint16(0), true)
	f.Fuzz(func(t *testing.T, header []byte, pktType uint8, length, status uint32, tci uint16, promiscuous bool) {
		d := bareDevice(t, -1)
		d.all = promiscuous
		a := arrival{kind: pktType, length: int(length % 1001), vnet: make([]byte, vnet.HeaderLen)}
		copy(a.vnet, header)
		a.tag = unix.TpacketAuxdata{Status: status, Vlan_tci: tci, Vlan_tpid: wire.TypeVLAN}
		if length > 1<<16 {
			a.length = -1
		}
		fr := wire.NewFrame(1000)
		why, ok := d.accept(fr, a)
		if !ok {
			if why >= link.NumDrops {
				t.Fatalf("reason %d", why)
			}
			return
		}
		if fr.Partial && int(fr.CsumStart)+int(fr.CsumOffset)+2 > fr.Len() {
			t.Fatal("checksum outside the frame")
		}
		tagged := status&unix.TP_STATUS_VLAN_VALID != 0 && a.length >= 12
		if tagged && binary.BigEndian.Uint16(fr.Bytes()[14:]) != tci {
			t.Fatal("the tag is lost")
		}
	})
}
