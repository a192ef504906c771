package seccomp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/api"
	"usvs/ipvs"
	"usvs/ipvsabi"
	"usvs/link/netnstest"
)

// fakeDirector answers the programs of the tests.
type fakeDirector struct {
	*ipvsabi.Server // resolves the family
	enter           Enter
	name            string
	forever         chan struct{}
	gone            error

	mu     sync.Mutex
	values map[string]string // guarded by mu
}

func (d *fakeDirector) Reach() error       { return d.gone }
func (d *fakeDirector) OwnsServices() bool { return false }
func (d *fakeDirector) Close()             {}

func (d *fakeDirector) Netlink(data []byte, port uint32, admin bool) ([][]byte, bool) {
	if native.Uint16(data[4:]) != ipvsabi.FamilyID {
		return d.Server.Netlink(data, port, admin)
	}
	seq := native.Uint32(data[8:])
	switch data[16] {
	case askReplies:
		var all [][]byte
		for i := range native.Uint32(data[20:]) {
			body := make([]byte, native.Uint32(data[24:]))
			native.PutUint32(body, i)
			all = append(all, request(ipvsabi.FamilyID, 0, seq, 0, body...))
		}
		return all, true
	case askAdmin:
		return [][]byte{request(ipvsabi.FamilyID, 0, seq, 0, []byte(fmt.Sprint(admin))...)}, true
	case askForever:
		<-d.forever
	}
	return [][]byte{request(ipvsabi.FamilyID, 0, seq, 0, []byte(d.name)...)}, true
}

func (d *fakeDirector) GetOption(name int, in []byte, admin bool) ([]byte, ipvsabi.Errno) {
	if name != firstOption || string(in) != "question" || !admin {
		return nil, ipvsabi.ESRCH
	}
	return []byte("answer"), 0
}

func (d *fakeDirector) SetOption(_ int, arg []byte, admin bool) ipvsabi.Errno {
	if string(arg) != "good" || !admin {
		return ipvsabi.EEXIST
	}
	return 0
}

func (d *fakeDirector) WriteProc(w io.Writer, name string) error {
	_, err := fmt.Fprintln(w, d.name, name)
	return err
}

func (d *fakeDirector) Sysctl(name string) (string, error) {
	if d.gone != nil {
		return "", d.gone
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, ok := d.values[name]; ok {
		return v, nil
	}
	return "0", nil
}

func (d *fakeDirector) SetSysctl(name, value string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if value == "bad" {
		return ipvs.ErrInvalid
	}
	d.values[name] = strings.TrimSpace(value)
	return nil
}

// host wraps the tests' programs in a lab.
type host struct {
	t       *testing.T
	home    string // the lab's own network namespace
	forever chan struct{}
	gone    error

	mu   sync.Mutex
	said []string // guarded by mu
}

func newHost(t *testing.T) *host {
	home, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	return &host{t: t, home: home, forever: make(chan struct{})}
}

func (h *host) connect(enter Enter) Director {
	d := &fakeDirector{Server: ipvsabi.NewServer(nil), forever: h.forever, gone: h.gone, values: map[string]string{}}
	d.name, d.enter = "away", enter
	return &lateDirector{fakeDirector: d, home: h.home}
}

// lateDirector finds out where it is when it is first asked for its name.
type lateDirector struct {
	*fakeDirector
	home string
	once sync.Once
}

func (d *lateDirector) Reach() error {
	d.once.Do(func() {
		_ = d.enter(func() error {
			ns, err := os.Readlink("/proc/thread-self/ns/net")
			if ns == d.home {
				d.name = "home"
			}
			return err
		})
	})
	return d.fakeDirector.Reach()
}

func (d *lateDirector) Netlink(data []byte, port uint32, admin bool) ([][]byte, bool) {
	_ = d.Reach()
	return d.fakeDirector.Netlink(data, port, admin)
}

func (h *host) say(message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, message)
}

func (h *host) messages() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.said, "\n")
}

func (h *host) start(program string, args ...string) *Guest {
	h.t.Helper()
	env := append(os.Environ(), programEnv+"="+program, "GORACE=atexit_sleep_ms=0")
	g, err := Start(Config{Connect: h.connect, Say: h.say, Files: true}, "/proc/self/exe", append([]string{program}, args...), env)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) || errors.Is(err, ErrNested) {
		netnstest.Skip(h.t, "no seccomp filters here: %v", err)
	}
	require.NoError(h.t, err)
	return g
}

func (h *host) run(program string, args ...string) {
	h.t.Helper()
	status := h.start(program, args...).Wait()
	assert.Equal(h.t, syscall.WaitStatus(0), status, "%s ended with %s; said: %s", program, describe(status), h.messages())
}

// openFiles counts what this process has open.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// Each program runs in a lab, and leaves nothing behind in the wrapper.
func TestPrograms(t *testing.T) {
	for _, name := range []string{"talk", "copies", "threads", "admin", "options", "files", "many", "hostile"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
				h := newHost(t)
				before := openFiles(t)
				h.run(name)
				eventually(t, "everything is closed", func() bool { return openFiles(t) <= before })
			})
		})
	}
}

func TestOtherNamespace(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		away := lab.Namespace("away")
		newHost(t).run("namespace", away.Path())
	})
}

func TestNoDirector(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		h := newHost(t)
		h.gone = api.ErrNoDirector
		h.run("absent")
		assert.Equal(t, 1, strings.Count(h.messages(), "no director runs"), h.messages())
	})
}

// A caller that is killed while the director thinks leaves nothing behind, and
// others are served meanwhile.
func TestKilledCaller(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		h := newHost(t)
		before := openFiles(t)
		status := h.start("hang").Wait()
		assert.Equal(t, syscall.SIGKILL, status.Signal(), describe(status))
		close(h.forever)
		eventually(t, "everything is closed", func() bool { return openFiles(t) <= before })
	})
}

const patience = 30 * time.Second

// eventually waits until good holds.
func eventually(t *testing.T, what string, good func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !good(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}
