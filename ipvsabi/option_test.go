package ipvsabi

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

func isOption(name int) bool { return name >= FirstOption && name <= LastOption }

func TestOptionNumbers(t *testing.T) {
	require.EqualValues(t, 1152, FirstOption)
	require.EqualValues(t, 1167, LastOption)
}

// serviceRecord is web, with rr.
var serviceRecord = []byte{
	6, 0, 0, 0, 10, 9, 0, 1, 0, 80, 0, 0, 0, 0, 0, 0,
	'r', 'r', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255,
}

func pad(b []byte, size int) []byte { return append(bytes.Clone(b), make([]byte, size-len(b))...) }

// Names that are none are nobody's, and those between them without effect.
func TestOptionsThatAreNot(t *testing.T) {
	f := new(fake)
	s := NewServer(f)
	for name := 1140; name < 1180; name++ {
		want := EINVAL
		if !isOption(name) {
			want = ENOPROTOOPT
		}
		require.Equal(t, want, s.SetOption(name, make([]byte, 7), true), name)
		if _, errno := s.GetOption(name, nil, true); name >= 1160 {
			require.Equal(t, ENOPROTOOPT, errno, name)
		} else {
			require.Equal(t, want, errno, name)
		}
	}
	require.Zero(t, f.changes)
}

// The Backend is not asked to make what it cannot hold.
func TestForeignProtocols(t *testing.T) {
	for _, p := range []uint16{0, 1, 255, 256 + 6, 65535} {
		f := new(fake)
		req := request(cmdNewService, 0, naming(web, "rr", 0, 0))
		native.PutUint16(req[36:], p)
		replies, _ := NewServer(f).Netlink(req, 42, true)
		require.Equal(t, EINVAL, result(replies))
		require.Zero(t, f.changes)
	}
}

// Every error of the Backend arrives at every option as its number.
func TestOptionBackendErrors(t *testing.T) {
	daemon := []byte{1, 0, 0, 0, 'e', 't', 'h', '0', 23: 0}
	sets := map[int][]byte{
		setAdd: serviceRecord, setEdit: serviceRecord, setDelete: serviceRecord, setFlush: nil,
		setAddDest: pad(serviceRecord, 68), setEditDest: pad(serviceRecord, 68), setDeleteDest: pad(serviceRecord, 68),
		setTimeout: make([]byte, 12), setStartDaemon: daemon, setStopDaemon: daemon, setZero: serviceRecord,
	}
	gets := map[int][]byte{
		getVersion: make([]byte, 64), getInfo: make([]byte, 12), getServices: make([]byte, 8),
		getService: pad(serviceRecord, 104), getDests: append(bytes.Clone(serviceRecord[:16]), make([]byte, 8)...),
		getTimeout: make([]byte, 12), getDaemon: make([]byte, 48),
	}
	for _, c := range backendErrors {
		s := NewServer(&fake{err: c.err})
		for name, arg := range sets {
			require.Equal(t, c.errno, s.SetOption(name, arg, true), "set %d: %v", name, c.err)
			require.Equal(t, EPERM, s.SetOption(name, arg, false))
		}
		for name, in := range gets {
			out, errno := s.GetOption(name, in, true)
			require.Equal(t, c.errno, errno, "get %d: %v", name, c.err)
			require.Nil(t, out)
			_, errno = s.GetOption(name, in, false)
			require.Equal(t, EPERM, errno)
		}
	}
}

// What the caller's buffer holds is not changed, and what the kernel leaves as
// it was is handed back as it was.
func TestGetOptionKeepsTheRest(t *testing.T) {
	s := NewServer(&fake{daemons: []ipvs.Daemon{{State: ipvs.DaemonBackup, Interface: "eth0", SyncID: 3}}})
	for name, used := range map[int]int{getInfo: 12, getTimeout: 12, getDaemon: 48} {
		in := bytes.Repeat([]byte{0xaa}, 80)
		out, errno := s.GetOption(name, in, true)
		require.Zero(t, errno)
		require.Equal(t, bytes.Repeat([]byte{0xaa}, 80), in)
		require.Len(t, out, 80)
		require.Equal(t, in[used:], out[used:])
		require.NotContains(t, string(out[:used]), "\xaa\xaa")
	}
	out, errno := s.GetOption(getVersion, make([]byte, 200), true)
	require.Zero(t, errno)
	require.Equal(t, "IP Virtual Server version 1.2.1 (size=0)\x00", string(out))
}

// Names of schedulers and interfaces fill their fields no further than a NUL.
func TestLongNamesInRecords(t *testing.T) {
	long := "a-name-that-is-longer-than-its-field"
	s := NewServer(&fake{
		services: []ipvs.ServiceEntry{{ID: web, Spec: ipvs.ServiceSpec{Scheduler: long}}},
		daemons:  []ipvs.Daemon{{State: ipvs.DaemonMaster, Interface: long}},
	})
	out, errno := s.GetOption(getService, pad(serviceRecord, 104), true)
	require.Zero(t, errno)
	require.Equal(t, long[:15]+"\x00", string(out[16:32]))
	out, errno = s.GetOption(getDaemon, make([]byte, 48), true)
	require.Zero(t, errno)
	require.Equal(t, long[:15]+"\x00", string(out[4:20]))
}

// A table that grew since it was counted is shown as far as there is room.
func TestListsShorterThanTheTable(t *testing.T) {
	f := new(fake)
	for i := range 5 {
		id := web
		id.Port = uint16(i)
		f.services = append(f.services, ipvs.ServiceEntry{ID: id, Spec: ipvs.ServiceSpec{Scheduler: fmt.Sprint("s", i)}})
	}
	for room := range 8 {
		in := make([]byte, 8+104*room)
		native.PutUint32(in, uint32(room))
		out, errno := NewServer(f).GetOption(getServices, in, true)
		require.Zero(t, errno)
		require.Len(t, out, len(in))
		for i := range min(room, 5) {
			require.Equal(t, fmt.Sprint("s", i), str(out[8+104*i+16:][:16]))
		}
	}
}
