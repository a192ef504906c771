package ipvsabi

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// seeds calls add for every line of testdata that begins with a word.
func seeds(f *testing.F, pattern, word string, add func(words []string, b []byte)) {
	f.Helper()
	files, err := filepath.Glob("testdata/" + pattern)
	require.NoError(f, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		seen := map[string]bool{}
		for l := range strings.Lines(string(text)) {
			words := strings.Fields(l)
			if len(words) < 2 || words[0] != word || seen[l] {
				continue
			}
			seen[l] = true
			b, err := hex.DecodeString(strings.Trim(words[len(words)-1], "-"))
			require.NoError(f, err)
			add(words, b)
		}
	}
}

func optionOf(words []string) int {
	n, _ := strconv.Atoi(words[1])
	return n
}

// stocked is a world with a service of every kind.
func stocked() *Server {
	c := world()
	mark := ipvs.ServiceID{Family: ipvs.IPv4, Mark: 7}
	six := ipvs.ServiceID{Family: ipvs.IPv6, Protocol: ipvs.UDP, Addr: vip6, Port: 53}
	for _, id := range []ipvs.ServiceID{web, mark, six} {
		_ = c.AddService(id, ipvs.ServiceSpec{Scheduler: "rr", PrefixLen: 128})
		_ = c.AddServer(id, ipvs.ServerID{Addr: vip6, Port: 80}, ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: 1})
	}
	return NewServer(c)
}

// Whatever is sent, nothing panics; what is handled is ours and nobody else's;
// and every datagram of an answer is whole messages to the one who asked.
func FuzzNetlink(f *testing.F) {
	seeds(f, "*.netlink", ">", func(_ []string, b []byte) { f.Add(b, true) })
	seeds(f, "edges.netlink", "<", func(_ []string, b []byte) { f.Add(b, false) })
	f.Fuzz(func(t *testing.T, datagram []byte, admin bool) {
		before := bytes.Clone(datagram)
		replies, handled := stocked().Netlink(datagram, 42, admin)
		require.Equal(t, before, datagram)
		require.Equal(t, handledByTheBook(datagram), handled)
		if !handled {
			require.Empty(t, replies)
		}
		size := 0
		for _, r := range replies {
			checkWhole(t, r)
			size += len(r)
		}
		require.LessOrEqual(t, size, 4096+40*len(datagram))
	})
}

func checkWhole(t *testing.T, d []byte) {
	t.Helper()
	require.NotEmpty(t, d)
	for len(d) > 0 {
		require.GreaterOrEqual(t, len(d), 20)
		n := int(native.Uint32(d))
		require.GreaterOrEqual(t, n, 20)
		require.Zero(t, n%4)
		require.LessOrEqual(t, n, len(d))
		require.EqualValues(t, 42, native.Uint32(d[12:]))
		require.Contains(t, []uint16{typeError, typeDone, typeControl, FamilyID}, native.Uint16(d[4:]))
		d = d[n:]
	}
}

// handledByTheBook tells slowly whose a datagram is.
func handledByTheBook(b []byte) bool {
	ours, others := 0, 0
	for len(b) >= 16 {
		n := uint64(native.Uint32(b))
		if n < 16 || n > uint64(len(b)) {
			break
		}
		typ, flags := native.Uint16(b[4:]), native.Uint16(b[6:])
		switch {
		case flags&1 == 0 || typ < 16:
		case typ == FamilyID:
			ours++
		case typ == 16 && flags&0x300 != 0x300 && n >= 20 && b[16] == 3 && asksForIPVS(b[20:n]):
			ours++
		default:
			others++
		}
		for range min((n+3)/4*4, uint64(len(b))) {
			b = b[1:]
		}
	}
	return ours > 0 && others == 0
}

func asksForIPVS(b []byte) bool {
	name, id := []byte(nil), []byte(nil)
	for len(b) >= 4 {
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		v := b[4:n]
		switch native.Uint16(b[2:]) & 0x3fff {
		case 1:
			if id = v; len(v) < 2 {
				return false
			}
		case 2:
			// at most 15 characters, counting all before a NUL at the very end
			head, _, ended := bytes.Cut(v[:min(len(v), 16)], []byte{0})
			if name = head; !ended || len(bytes.TrimSuffix(v, []byte{0})) > 15 {
				return false
			}
			if name == nil {
				name = []byte{}
			}
		}
		b = b[min((n+3)/4*4, len(b)):]
	}
	if name != nil {
		return string(name) == "IPVS"
	}
	return id != nil && native.Uint16(id) == FamilyID
}

// Whatever the buffer, what comes back fits it.
func FuzzGetOption(f *testing.F) {
	seeds(f, "*.options", "get", func(words []string, b []byte) {
		f.Add(optionOf(words), b[:min(len(b), 600)])
	})
	f.Fuzz(func(t *testing.T, name int, in []byte) {
		before := bytes.Clone(in)
		out, errno := stocked().GetOption(name, in, true)
		require.Equal(t, before, in)
		require.LessOrEqual(t, len(out), len(in))
		require.True(t, errno == 0 || out == nil)
		require.True(t, errno != 0 || isOption(name))
	})
}

// Whatever the argument, the table can be listed afterwards, by both interfaces.
func FuzzSetOption(f *testing.F) {
	seeds(f, "*.options", "set", func(words []string, b []byte) {
		f.Add(optionOf(words), b)
	})
	f.Fuzz(func(t *testing.T, name int, arg []byte) {
		s := stocked()
		errno := s.SetOption(name, arg, true)
		require.True(t, errno != 0 || isOption(name))
		for _, cmd := range []uint8{cmdGetService, cmdGetDaemon} {
			replies, handled := s.Netlink(request(cmd, flagDump, nil), 42, true)
			require.True(t, handled)
			_, done := decoded(t, replies)
			require.True(t, done)
		}
		_, errno = s.GetOption(getInfo, make([]byte, 12), true)
		require.Zero(t, errno)
	})
}
