package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// keepalived is the distribution's own, running under `usvs exec`.
type keepalived struct {
	t    *testing.T
	ns   *netnstest.Namespace
	dir  string   // of its configuration and pid files
	exec []string // options of `usvs exec`
	proc *netnstest.Process
}

// startKeepalived starts keepalived with a configuration in a director's
// namespace, and options for `usvs exec`.
func startKeepalived(t *testing.T, ns *netnstest.Namespace, conf string, exec ...string) *keepalived {
	t.Helper()
	k := &keepalived{t: t, ns: ns, dir: t.TempDir(), exec: exec}
	k.configure(conf)
	k.start()
	t.Cleanup(func() {
		_ = k.proc.Stop()
		if t.Failed() {
			t.Logf("keepalived on %s:\n%s", ns.Name(), k.proc.Output())
		}
	})
	return k
}

func (k *keepalived) file(name string) string { return filepath.Join(k.dir, name) }

func (k *keepalived) configure(conf string) {
	k.t.Helper()
	require.NoError(k.t, os.WriteFile(k.file("keepalived.conf"), []byte(conf), 0o644))
}

// start starts it again, too.
func (k *keepalived) start() {
	k.t.Helper()
	words := append([]string{"exec"}, k.exec...)
	words = append(words, "--", "keepalived", "--dont-fork", "--log-console", "--log-detail", "--use-file", k.file("keepalived.conf"),
		"--pid", k.file("main.pid"), "--vrrp_pid", k.file("vrrp.pid"), "--checkers_pid", k.file("checkers.pid"))
	cmd := exec.Command(program(), words...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	k.proc = k.ns.StartCmd(cmd)
}

// signal sends a signal to keepalived itself.
func (k *keepalived) signal(name string) {
	k.t.Helper()
	pid, err := os.ReadFile(k.file("main.pid"))
	require.NoError(k.t, err, "%s", k.proc.Output())
	k.ns.Run("kill", "-"+name, strings.TrimSpace(string(pid)))
}

// kill ends it as nobody should. Its children notice, and give back what they
// have.
func (k *keepalived) kill() {
	k.t.Helper()
	k.signal("KILL")
	select {
	case <-k.proc.Done():
	case <-time.After(patience):
		k.t.Fatalf("usvs exec does not end with keepalived: %s", k.proc.Output())
	}
}

// example is one of the configurations that users are given.
func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../examples/keepalived", name))
	require.NoError(t, err)
	return string(text)
}

// keepalivedSite is direct routing with two directors, whose VIP is
// keepalived's, and web servers that can be stopped.
type keepalivedSite struct {
	*site
	backup *netnstest.Namespace
	uplink string // the switch's port of the director
	web    []*webServer
}

func newKeepalivedSite(t *testing.T, lab *netnstest.Lab) *keepalivedSite {
	t.Helper()
	s := &keepalivedSite{site: newSite(t, lab, "lan0")}
	s.client = s.machine("client", "lan0 10.10.100.2/24 2001:db8::2/64")
	s.director = s.machine("director", "lan0 10.10.100.1/24 2001:db8::1/64")
	s.uplink = fmt.Sprintf("port%d", s.ports)
	s.backup = s.machine("backup", "lan0 10.10.100.3/24 2001:db8::3/64")
	s.servers = []*netnstest.Namespace{
		s.machine("rs1", "lan0 10.10.100.111/24 2001:db8::111/64"),
		s.machine("rs2", "lan0 10.10.100.112/24 2001:db8::112/64"),
	}
	for i := range clients {
		s.client.AddAddr("eth0", fmt.Sprintf("%s/24", clientAddr(i)))
	}
	s.realServersUp(vip4, "dr")
	s.realServersUp(vip6, "dr")
	for _, rs := range s.servers {
		s.web = append(s.web, startWebServer(t, rs))
	}
	return s
}

// clients are the client's addresses: so many that persistence spreads them over the servers.
const clients = 8

func clientAddr(i int) string { return fmt.Sprintf("10.10.100.%d", 20+i) }

// webServer is a web server that can be stopped and started. Its nginx says its
// machine's name.
type webServer struct {
	t    *testing.T
	ns   *netnstest.Namespace
	proc *netnstest.Process
	conf string
}

func startWebServer(t *testing.T, ns *netnstest.Namespace) *webServer {
	t.Helper()
	dir := t.TempDir()
	w := &webServer{t: t, ns: ns, conf: filepath.Join(dir, "nginx.conf")}
	conf := fmt.Appendf(nil, nginxConf, dir, ns.Name(), "listen 80; listen [::]:80 ipv6only=on;")
	require.NoError(t, os.WriteFile(w.conf, conf, 0o644))
	w.start()
	return w
}

func (w *webServer) start() {
	w.t.Helper()
	w.proc = w.ns.Start("nginx", "-p", filepath.Dir(w.conf), "-c", w.conf, "-e", "stderr")
	eventually(w.t, "nginx on "+w.ns.Name(), func() bool {
		conn, err := w.ns.Dial("tcp", "127.0.0.1:80")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (w *webServer) stop() {
	w.t.Helper()
	_ = w.proc.Stop()
}

// request makes one request, the i-th, and returns who answered. Over IPv4 the
// client's addresses take turns.
func (s *keepalivedSite) request(i int, vip string, timeout time.Duration) (string, error) {
	dialer := net.Dialer{}
	if !strings.Contains(vip, ":") {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(clientAddr(i % clients))}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		s.client.Do(func() { conn, err = dialer.DialContext(ctx, network, addr) })
		return conn, err
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(vip, "80")+"/", nil)
	if err != nil {
		return "", err
	}
	reply, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	name, err := io.ReadAll(reply.Body)
	return strings.TrimSpace(string(name)), err
}

// requestTimeout is when a request counts as lost: the first two packets of its
// connection may have been (RFC 6298: repeated after one second and after three).
const requestTimeout = 5 * time.Second

// requests makes n requests and counts who answered; all must succeed.
func (s *keepalivedSite) requests(vip string, n int) map[string]int {
	s.t.Helper()
	who := map[string]int{}
	for i := range n {
		name, err := s.request(i, vip, patience)
		require.NoError(s.t, err, "request %d", i)
		who[name]++
	}
	return who
}

// load makes requests all the time.
type load struct {
	stop    context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex
	ok      int
	lost    []string // guarded by mu, as is ok
	longest time.Duration
}

func (s *keepalivedSite) startLoad(vip string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		last := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			_, err := s.request(i, vip, requestTimeout)
			l.record(err, &last)
			time.Sleep(5 * time.Millisecond)
		}
	}()
	s.t.Cleanup(func() { l.end() })
	return l
}

func (l *load) record(err error, last *time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.lost = append(l.lost, err.Error())
		return
	}
	l.ok++
	l.longest = max(l.longest, time.Since(*last))
	*last = time.Now()
}

// sofar returns what became of the requests.
func (l *load) sofar() (ok int, lost []string, longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ok, slices.Clone(l.lost), l.longest
}

// goesOn waits until requests are answered again and again.
func (l *load) goesOn(t *testing.T) {
	t.Helper()
	before, _, _ := l.sofar()
	eventually(t, "requests go on", func() bool { ok, _, _ := l.sofar(); return ok > before+50 })
}

// report logs what became of the requests, and fails the test if more of them
// were lost than a takeover explains.
func (l *load) report(t *testing.T, what string) {
	t.Helper()
	ok, lost, longest := l.sofar()
	t.Logf("%s: so far %d requests, %d lost %q, longest pause %v", what, ok, len(lost), lost, longest.Round(time.Millisecond))
	most := int(2 * patience / requestTimeout) // of two changes of the master, each of which ends in time
	assert.Less(t, len(lost), most, "%q", lost)
}

// end ends the load.
func (l *load) end() { l.stop(); <-l.done }

// weights are the real servers of a director's table with their weights.
func weights(d *director) map[string]int {
	d.t.Helper()
	out := map[string]int{}
	for line := range strings.Lines(d.ipvsadm("-Ln")) {
		f := strings.Fields(line)
		if len(f) > 3 && f[0] == "->" && endpointWord.MatchString(f[1]) {
			w, err := strconv.Atoi(f[3])
			require.NoError(d.t, err, line)
			out[f[1]] = w
		}
	}
	return out
}

// awaitWeights waits until a director's table has just these real servers.
func awaitWeights(d *director, want map[string]int) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("the table of %s has %v", d.ns.Name(), want), func() bool {
		return assert.ObjectsAreEqual(want, weights(d))
	})
}

// has reports whether a machine's interface carries an address.
func has(ns *netnstest.Namespace, addr string) bool {
	out := ns.Run("ip", "-o", "addr", "show", "dev", "eth0")
	return strings.Contains(out, " "+addr+"/")
}

func (s *keepalivedSite) awaitVIP(at, notAt *netnstest.Namespace, addr string) {
	s.t.Helper()
	eventually(s.t, addr+" is on "+at.Name()+" only", func() bool { return has(at, addr) && !has(notAt, addr) })
}

var bothServers = map[string]int{"10.10.100.111:80": 1, "10.10.100.112:80": 1}

// The classic pair of directors: what users are given in examples/keepalived.
func TestKeepalived(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "keepalived", "nginx", "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		d1 := startDirector(t, s.director, "-i eth0 --own host")
		d2 := startDirector(t, s.backup, "-i eth0 --own host")
		k1 := startKeepalived(t, s.director, example(t, "master.conf"))
		startKeepalived(t, s.backup, example(t, "backup.conf"))
		s.awaitVIP(s.director, s.backup, vip4)
		awaitWeights(d1, bothServers)
		awaitWeights(d2, bothServers)
		s.requests(vip4, 1)
		who := s.requests(vip4, 3*clients)
		assert.Equal(t, 3*clients, who["rs1"]+who["rs2"])
		assert.GreaterOrEqual(t, min(who["rs1"], who["rs2"]), clients, "both servers take part: %v", who)

		t.Run("A server ends", func(t *testing.T) { s.testServerEnds(t, d1) })
		t.Run("keepalived ends", func(t *testing.T) { s.testKeepalivedEnds(t, k1) })
		t.Run("The network ends", s.testNetworkEnds)
		for _, d := range []*director{d1, d2} {
			assert.Zero(t, d.status()["neighbours"]["announcements"])
		}
	})
}

// testServerEnds: a server that ends is taken out, nothing is lost after that,
// and it is taken in again.
func (s *keepalivedSite) testServerEnds(t *testing.T, d *director) {
	s.web[0].stop()
	awaitWeights(d, map[string]int{"10.10.100.112:80": 1})
	assert.Equal(t, map[string]int{"rs2": 2 * clients}, s.requests(vip4, 2*clients))
	s.web[0].start()
	awaitWeights(d, bothServers)
	l := s.startLoad(vip4)
	l.goesOn(t)
	l.end()
	_, lost, _ := l.sofar()
	assert.Empty(t, lost, "no request is lost when a server comes")
}

// testKeepalivedEnds: the master's keepalived is killed, the backup takes over,
// and gives the address back.
func (s *keepalivedSite) testKeepalivedEnds(t *testing.T, k *keepalived) {
	l := s.startLoad(vip4)
	defer l.end()
	l.goesOn(t)
	k.kill()
	s.awaitVIP(s.backup, s.director, vip4)
	l.goesOn(t)
	l.report(t, "keepalived was killed")

	k.start()
	s.awaitVIP(s.director, s.backup, vip4)
	l.goesOn(t)
	l.report(t, "keepalived returned")
}

// testNetworkEnds: the master is cut off, and plugged in again.
func (s *keepalivedSite) testNetworkEnds(t *testing.T) {
	l := s.startLoad(vip4)
	defer l.end()
	l.goesOn(t)
	s.plug.SetDown(s.uplink)
	eventually(t, "the backup has "+vip4, func() bool { return has(s.backup, vip4) })
	l.goesOn(t)
	l.report(t, "the master was cut off")

	s.plug.SetUp(s.uplink)
	s.awaitVIP(s.director, s.backup, vip4)
	l.goesOn(t)
	l.report(t, "the master was plugged in")
}
