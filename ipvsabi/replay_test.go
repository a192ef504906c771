package ipvsabi

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/api"
	"usvs/clock"
	"usvs/connsync"
	"usvs/conntrack"
	"usvs/control"
	"usvs/ipvs"
	"usvs/ipvsadm"
)

// recordedPort is the port of the programs in testdata; see its README.md.
const recordedPort = 42

// world is a control as the recordings' machine was: one interface, dummy0, and
// a connection table of 4096 buckets.
func world() *control.Control {
	return control.New(control.Config{
		Clock: clock.NewSystem(), Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry),
		Conns: &table{ipvs.DefaultTimeouts}, Sync: wires{},
	})
}

type table struct{ timeouts ipvs.Timeouts }

func (*table) List(clock.Instant, func(*ipvs.ConnEntry) bool) {}
func (t *table) Timeouts() ipvs.Timeouts                      { return t.timeouts }
func (t *table) SetTimeouts(to ipvs.Timeouts)                 { t.timeouts = to }
func (*table) Buckets() int                                   { return 4096 }
func (*table) Helpers(clock.Instant) []conntrack.Helper       { return nil }

type wires struct{}

func (wires) Interface(name string) (int, error) {
	if name != "dummy0" {
		return 0, ipvs.ErrNoDevice
	}
	return 1500, nil
}
func (wires) Open(*ipvs.Daemon, control.SyncOptions) error { return nil }
func (wires) Close(ipvs.DaemonState)                       {}
func (wires) Send(*connsync.Datagram)                      {}

// line is one of a recording, with its number.
type line struct {
	number int
	words  []string
}

func recording(t *testing.T, name string) []line {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	var lines []line
	for i, text := range strings.Split(string(b), "\n") {
		if words := strings.Fields(text); len(words) > 0 && words[0] != "#" && words[0] != "$" {
			lines = append(lines, line{i + 1, words})
		}
	}
	return lines
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Trim(s, "-"))
	require.NoError(t, err)
	return b
}

// Every datagram gets the answer the kernel gave, and every option ends as it
// did with the kernel.
func TestRecordings(t *testing.T) {
	eachRecording(t, func(*testing.T) ipvsadm.Backend { return world() })
}

// The same through the control socket: nothing is lost on the way.
func TestRecordingsThroughSocket(t *testing.T) {
	eachRecording(t, func(t *testing.T) ipvsadm.Backend {
		address := filepath.Join(t.TempDir(), "socket")
		listener, err := api.Listen(address)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- api.Serve(ctx, listener, world(), api.Handlers{}) }()
		client := api.Dial(address)
		t.Cleanup(func() {
			client.Close()
			cancel()
			require.NoError(t, <-done)
		})
		return client
	})
}

// A director that is not there.
func TestNoDirector(t *testing.T) {
	s := NewServer(api.Dial(filepath.Join(t.TempDir(), "socket")))
	replies, handled := s.Netlink(request(cmdGetInfo, flagAck, nil), recordedPort, true)
	require.True(t, handled)
	require.Equal(t, ECONNREFUSED, result(replies))
	_, errno := s.GetOption(getInfo, make([]byte, infoLen), true)
	require.Equal(t, ECONNREFUSED, errno)
}

func eachRecording(t *testing.T, backend func(*testing.T) ipvsadm.Backend) {
	files, err := filepath.Glob("testdata/*.*")
	require.NoError(t, err)
	for _, name := range files {
		if filepath.Ext(name) != ".md" {
			t.Run(filepath.Base(name), func(t *testing.T) { replay(t, name, NewServer(backend(t))) })
		}
	}
}

func replay(t *testing.T, name string, s *Server) {
	admin := true
	lines := recording(t, name)
	for len(lines) > 0 {
		l := lines[0]
		answers := 1
		for answers < len(lines) && (lines[answers].words[0] == "<" || lines[answers].words[0] == "=") {
			answers++
		}
		var want, got string
		switch verb := l.words[0]; verb {
		case "user":
			admin = l.words[1] == "yes"
		case ">":
			want, got = replayNetlink(t, s, lines[:answers], admin)
		default:
			want, got = replayOption(t, s, lines[:answers], admin)
		}
		if want != got {
			t.Errorf("%s:%d: %v\nkernel:\n%s\nusvs:\n%s", name, l.number, l.words, want, got)
		}
		lines = lines[answers:]
	}
}

func replayNetlink(t *testing.T, s *Server, lines []line, admin bool) (want, got string) {
	t.Helper()
	var answers [][]byte
	for _, l := range lines[1:] {
		answers = append(answers, unhex(t, l.words[1]))
	}
	replies, _ := s.Netlink(unhex(t, lines[0].words[1]), recordedPort, admin)
	return render(answers), render(replies)
}

func replayOption(t *testing.T, s *Server, lines []line, admin bool) (want, got string) {
	t.Helper()
	require.Len(t, lines, 2)
	words := lines[0].words
	number := optionOf(words)
	got = option(s, words[0], number, unhex(t, words[2]), admin)
	return canonical(number, lines[1].words[1]), canonical(number, got)
}

// render writes datagrams one a line. The kernel lists services in the order of
// its hash table, so the messages of such a list are sorted.
func render(datagrams [][]byte) string {
	var lines, services []string
	for _, d := range datagrams {
		if len(d) > 16 && d[16] == cmdNewService && native.Uint16(d[6:])&flagMulti != 0 {
			for m, rest, ok := next(d); ok; m, rest, ok = next(rest) {
				services = append(services, fmt.Sprintf("%x", m.bytes))
			}
			continue
		}
		lines = append(lines, fmt.Sprintf("%x", d))
	}
	slices.Sort(services)
	return strings.Join(append(services, lines...), "\n")
}

func option(s *Server, verb string, number int, arg []byte, admin bool) string {
	if verb == "set" {
		if errno := s.SetOption(number, arg, admin); errno != 0 {
			return errnoName(errno)
		}
		return "0"
	}
	out, errno := s.GetOption(number, arg, admin)
	if errno != 0 {
		return errnoName(errno)
	}
	if len(out) == 0 {
		return "-"
	}
	return hex.EncodeToString(out)
}

// canonical sorts the entries of a list of services.
func canonical(number int, result string) string {
	b, err := hex.DecodeString(result)
	if err != nil || number != getServices || len(b) < servicesHeaderLen {
		return result
	}
	entries := slices.Collect(slices.Chunk(b[servicesHeaderLen:], serviceEntryLen))
	slices.SortFunc(entries, bytes.Compare)
	return hex.EncodeToString(b[:servicesHeaderLen]) + hex.EncodeToString(bytes.Join(entries, nil))
}

func errnoName(e Errno) string {
	return map[Errno]string{
		EPERM: "EPERM", ENOENT: "ENOENT", ESRCH: "ESRCH", EFAULT: "EFAULT", EEXIST: "EEXIST", ENODEV: "ENODEV",
		EINVAL: "EINVAL", ERANGE: "ERANGE", ENOPROTOOPT: "ENOPROTOOPT", EOPNOTSUPP: "EOPNOTSUPP",
		EAFNOSUPPORT: "EAFNOSUPPORT", ECONNREFUSED: "ECONNREFUSED",
	}[e]
}
