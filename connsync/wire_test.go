package connsync

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/wire"
)

// recorded are the frames that a kernel's master sent.
func recorded(t testing.TB) (names []string, frames [][]byte) {
	text, err := os.ReadFile("testdata/master.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		frame, err := hex.DecodeString(digits)
		require.NoError(t, err)
		names, frames = append(names, name), append(frames, frame)
	}
	return names, frames
}

// payload is what a recorded frame carries, and where it goes.
func payload(t testing.TB, frame []byte) (netip.AddrPort, []byte) {
	var p wire.Packet
	require.Equal(t, wire.None, p.Parse(slices.Clone(frame), wire.Ethernet))
	to, message, ok := Payload(&p)
	require.True(t, ok)
	return to, message
}

// decoded are the entries and problems of a message.
func decoded(message []byte, syncID uint8) (entries []Entry, problems []Problem) {
	Decode(message, syncID, func(e *Entry) {
		c := *e
		c.PEData = slices.Clone(e.PEData)
		entries = append(entries, c)
	}, func(p Problem) { problems = append(problems, p) })
	return entries, problems
}

// encoded is a message of entries.
func encoded(version int, syncID uint8, entries ...Entry) []byte {
	var m message
	m.begin(version, syncID)
	for i := range entries {
		m.add(AppendEntry(nil, &entries[i], version))
	}
	return m.finish()
}

// TestRecorded takes a kernel's messages apart and puts them together again:
// messages and frames come out as they were, byte for byte.
func TestRecorded(t *testing.T) {
	names, frames := recorded(t)
	require.NotEmpty(t, frames)
	for i, frame := range frames {
		to, message := payload(t, frame)
		entries, problems := decoded(message, 0)
		require.Empty(t, problems, names[i])
		require.NotEmpty(t, entries, names[i])
		version := 1
		if names[i] == "master-v0" {
			version = 0
		}
		require.Equal(t, message, encoded(version, message[1], entries...), names[i])

		ip := wire.IPv4(frame[wire.EthernetLen:])
		g := Datagram{Group: to, TTL: int(ip.TTL()), Payload: message}
		from := netip.AddrPortFrom(ip.Src(), binary.BigEndian.Uint16(frame[wire.EthernetLen+wire.IPv4Len:]))
		require.Equal(t, frame, g.Frame(wire.EthernetHeader(frame).Src(), from, ip.ID()), names[i])
	}
}

func TestRecordedMeaning(t *testing.T) {
	names, frames := recorded(t)
	_, message := payload(t, frames[slices.Index(names, "master-sip")])
	entries, _ := decoded(message, 5)
	require.True(t, entries[0].Template())
	require.Equal(t, "sip", entries[0].PEName)
	require.Equal(t, "callid-77@example.test", string(entries[0].PEData))
	require.Equal(t, ipvs.UDP, entries[0].Protocol)
	require.EqualValues(t, 60, entries[0].Timeout)

	_, message = payload(t, frames[slices.Index(names, "master-v6")])
	entries, _ = decoded(message, 5)
	require.Equal(t, "[2001:db8::9]:3000", entries[0].Client.String())
	require.Equal(t, "[fd00:1::11]:80", entries[0].Real.String())
	require.Equal(t, ipvs.DirectRoute, entries[0].Method)
	require.EqualValues(t, conntrack.TCPEstablished, entries[0].State)

	_, message = payload(t, frames[slices.Index(names, "master-persist")])
	entries, _ = decoded(message, 5)
	mark := slices.IndexFunc(entries, func(e Entry) bool { return e.Mark != 0 && e.Template() })
	require.Equal(t, ipvs.ProtoIP, entries[mark].Protocol)
	require.Equal(t, "0.0.0.3:0", entries[mark].Virtual.String())
	require.EqualValues(t, 3, entries[mark].Mark)
}

// randomEntry is any entry that a version can express.
func randomEntry(r *rand.Rand, version int) Entry {
	addr := func(v6 bool) netip.AddrPort {
		port := uint16(r.Uint32())
		if !v6 {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}), port)
		}
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], r.Uint64())
		binary.BigEndian.PutUint64(b[8:], r.Uint64())
		return netip.AddrPortFrom(netip.AddrFrom16(b), port)
	}
	v6 := version == 1 && r.IntN(2) == 0
	e := Entry{
		Protocol: ipvs.Protocol(r.Uint32()), Method: ipvs.ForwardMethod(r.IntN(8)), State: uint16(r.Uint32()),
		Client: addr(v6), Virtual: addr(v6), Real: addr(v6), version: uint8(version),
	}
	e.Flags = conntrack.Flags(r.Uint32()) &^ methodMask &^ seqFlags
	if version == 0 {
		e.Flags &= 0xffff
	} else {
		e.Mark, e.Timeout = r.Uint32(), r.Uint32()
	}
	if r.IntN(2) == 0 {
		e.Seq = true
		e.Flags |= conntrack.FlagInSeq
		e.InSeq = conntrack.Seq{Init: r.Uint32(), Delta: int32(r.Uint32()), Previous: int32(r.Uint32())}
		e.OutSeq = conntrack.Seq{Init: r.Uint32(), Delta: int32(r.Uint32()), Previous: int32(r.Uint32())}
	}
	if version == 1 && r.IntN(3) == 0 {
		e.PEName = strings.Repeat("x", 1+r.IntN(maxPEName))
		e.PEData = make([]byte, 1+r.IntN(maxPEData))
		for i := range e.PEData {
			e.PEData[i] = byte(r.Uint32())
		}
	}
	return e
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		version := r.IntN(2)
		var want []Entry
		for range 1 + r.IntN(20) {
			want = append(want, randomEntry(r, version))
			require.LessOrEqual(t, len(AppendEntry(nil, &want[len(want)-1], version)), maxEntry)
		}
		got, problems := decoded(encoded(version, uint8(r.Uint32()), want...), 0)
		require.Empty(t, problems)
		require.Equal(t, want, got)
	}
}

func TestSyncID(t *testing.T) {
	e := randomEntry(rand.New(rand.NewPCG(1, 1)), 1)
	for _, tt := range []struct {
		mine, theirs uint8
		problems     []Problem
	}{{0, 0, nil}, {0, 9, nil}, {9, 9, nil}, {9, 0, []Problem{OtherSyncID}}, {9, 8, []Problem{OtherSyncID}}} {
		for version := range 2 {
			e.version = uint8(version)
			_, problems := decoded(encoded(version, tt.theirs, e), tt.mine)
			if version == 1 {
				require.Equal(t, tt.problems, problems)
			}
		}
	}
}

// hexMessage is a version 1 message with a body, the size filled in.
func hexMessage(t *testing.T, count byte, body string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(body, " ", ""))
	require.NoError(t, err)
	m := append([]byte{0, 0, 0, 0, count, 1, 0, 0}, b...)
	binary.BigEndian.PutUint16(m[2:], uint16(len(m)))
	return m
}

const (
	good4   = "00 06 0024 00000083 0001 03e8 0050 0050 00000000 00000384 c6336432 0a090001 0a01000b"
	plain4  = "00000083 0001 03e8 0050 0050 00000000 00000384 c6336432 0a090001 0a01000b"
	fixed6  = "00000083 0001 03e8 0050 0050 00000000 00000384" + "20010db8000000000000000000000001 fd000000000000000000000000000001 fd000000000000000000000000000002"
	seqData = "01 18 00000001 00000002 00000003 00000004 00000005 00000006"
)

// TestHostile sends what no master should.
func TestHostile(t *testing.T) {
	size := func(n string) string { return "00 06 " + n + plain4 }
	for _, tt := range []struct {
		name    string
		message []byte
		entries int
		problem []Problem
	}{
		{"empty", nil, 0, []Problem{Short}},
		{"three bytes", []byte{1, 2, 3}, 0, []Problem{Short}},
		{"says longer", []byte{0, 0, 0, 5}, 0, []Problem{WrongSize}},
		{"says shorter", []byte{0, 0, 0, 3}, 0, []Problem{WrongSize}},
		{"nothing in it", []byte{0, 0, 0, 4}, 0, nil},
		{"version 0 cut", append([]byte{1, 0, 0, 27}, make([]byte, 23)...), 0, []Problem{Truncated}},
		{"version 0", append([]byte{1, 0, 0, 28}, make([]byte, 24)...), 1, nil},
		{"version 0 without its sequences", append([]byte{1, 0, 0, 28}, append(make([]byte, 20), 2, 0, 0, 0)...), 0, []Problem{Truncated}},
		{"one of two is there", hexMessage(t, 2, good4), 1, []Problem{Truncated}},
		{"trailing bytes", hexMessage(t, 1, good4+"ffff"), 1, nil},
		{"none counted", hexMessage(t, 0, good4), 0, nil},
		{"cut in the fixed part", hexMessage(t, 1, good4[:60]), 0, []Problem{Truncated}},
		{"size too small", hexMessage(t, 1, size("0023")), 0, []Problem{BadSize}},
		{"size zero", hexMessage(t, 1, size("0000")), 0, []Problem{BadSize}},
		{"size beyond the message", hexMessage(t, 1, size("0025")), 0, []Problem{Truncated}},
		{"entry version", hexMessage(t, 2, size("1024")+good4), 0, []Problem{BadVersion}},
		{"type 2", hexMessage(t, 2, "02"+good4[2:]+good4), 0, []Problem{BadType}},
		{"type 3 is IPv6", hexMessage(t, 1, "03 06 0048"+fixed6), 1, nil},
		{"IPv6 of IPv4's size", hexMessage(t, 1, "01"+good4[2:]), 0, []Problem{BadSize}},
		{"option of one byte", hexMessage(t, 1, size("0025")+"01"), 0, []Problem{BadOption}},
		{"option without length", hexMessage(t, 1, size("0026")+"0100"), 0, []Problem{BadOption}},
		{"option too long", hexMessage(t, 1, size("0028")+"02030000"), 0, []Problem{BadOption}},
		{"sequences too short", hexMessage(t, 1, size("0028")+"01020000"), 0, []Problem{BadOption}},
		{"sequences", hexMessage(t, 1, size("003e")+seqData), 1, nil},
		{"sequences twice", hexMessage(t, 1, size("0058")+seqData+seqData), 0, []Problem{BadOption}},
		{"data twice", hexMessage(t, 1, size("002a")+"020161 020162"), 0, []Problem{BadOption}},
		{"name twice", hexMessage(t, 1, size("002a")+"030161 030162"), 0, []Problem{BadOption}},
		{"name too long", hexMessage(t, 1, size("0037")+"0311"+strings.Repeat("61", 17)), 0, []Problem{BadOption}},
		{"unknown option, then a good entry", hexMessage(t, 2, size("0028")+"09026162"+good4), 1, []Problem{UnknownOption}},
		{"unknown option that may be skipped", hexMessage(t, 1, size("0028")+"49026162"), 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entries, problems := decoded(tt.message, 0)
			require.Len(t, entries, tt.entries)
			require.Equal(t, tt.problem, problems)
		})
	}
}

// FuzzDecode: whatever comes, every entry that is accepted can be sent again
// and means the same.
func FuzzDecode(f *testing.F) {
	_, frames := recorded(f)
	for _, frame := range frames {
		_, message := payload(f, frame)
		f.Add(message)
	}
	f.Add(encoded(1, 3, randomEntry(rand.New(rand.NewPCG(9, 9)), 1)))
	f.Fuzz(func(t *testing.T, message []byte) {
		entries, _ := decoded(message, 0)
		require.LessOrEqual(t, len(entries), maxCount)
		for _, e := range entries {
			if len(e.PEData) > 0 != (e.PEName != "") || e.version == 1 && e.Seq != (e.Flags&seqFlags != 0) {
				continue // believed, but never sent like this
			}
			again, problems := decoded(encoded(int(e.version), 0, e), 0)
			require.Empty(t, problems)
			require.Equal(t, []Entry{e}, again)
		}
	})
}

func TestPayloadRefuses(t *testing.T) {
	_, frames := recorded(t)
	for name, spoil := range map[string]func([]byte){
		"checksum":   func(b []byte) { b[len(b)-1] ^= 1 },
		"UDP length": func(b []byte) { binary.BigEndian.PutUint16(b[38:], 7) },
		"fragment":   func(b []byte) { b[20] = 0x20; wire.IPv4(b[14:34]).UpdateChecksum() },
		"protocol":   func(b []byte) { b[23] = wire.ProtoTCP; wire.IPv4(b[14:34]).UpdateChecksum() },
	} {
		b := slices.Clone(frames[0])
		spoil(b)
		var p wire.Packet
		if p.Parse(b, wire.Ethernet) != wire.None {
			continue
		}
		_, _, ok := Payload(&p)
		require.False(t, ok, name)
	}
}

// TestFrameIPv6 sends to an IPv6 group.
func TestFrameIPv6(t *testing.T) {
	g := Datagram{Group: netip.MustParseAddrPort("[ff02::51]:8848"), TTL: 3, Payload: []byte("hello")}
	b := g.Frame(wire.MAC{2, 0, 0, 0, 0, 2}, netip.MustParseAddrPort("[fe80::ff:fe00:2]:40000"), 0)
	require.Equal(t, wire.MAC{0x33, 0x33, 0, 0, 0, 0x51}, wire.EthernetHeader(b).Dst())
	var p wire.Packet
	require.Equal(t, wire.None, p.Parse(b, wire.Ethernet))
	require.EqualValues(t, 3, p.TTL)
	to, payload, ok := Payload(&p)
	require.True(t, ok)
	require.Equal(t, g.Group, to)
	require.Equal(t, g.Payload, payload)
}
