package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/ipvs"
	"usvs/link/netnstest"
)

// clientJob is what a client program has to do.
type clientJob struct {
	Workers, Operations int
	Seed                uint64
	Storm               bool // signals to every thread, all the time
	Foretold            bool // the director is one whose counters can be foretold
}

// clientReport is what it did.
type clientReport struct {
	Done    map[string]int // changes, by kind
	Reads   int
	Signals int
	Failed  []string
}

// clientService and clientServer are services and real servers as both
// libraries can express them.
type (
	clientService struct {
		IP        string
		Port      uint16
		Mark      uint32
		Scheduler string
		Timeout   uint32 // of persistence
		Stats     ipvs.Stats
	}
	clientServer struct {
		IP           string
		Port         uint16
		Method       uint32
		Weight       int
		Upper, Lower uint32
		Stats        ipvs.Stats
	}
)

// client is a library that talks to the kernel's IPVS.
type client interface {
	AddService(clientService) error
	EditService(clientService) error
	DeleteService(clientService) error
	Service(clientService) (clientService, error)
	Services() ([]clientService, error)
	AddServer(clientService, clientServer) error
	EditServer(clientService, clientServer) error
	DeleteServer(clientService, clientServer) error
	Servers(clientService) ([]clientServer, error)
	Close()
}

// Go programs that talk to the kernel through raw system calls make thousands
// of changes from several threads, under a storm of signals to them and to the
// wrapper: each change happens once, and the table reads back as it must be.
func TestExecGoClients(t *testing.T) {
	t.Parallel()
	job := clientJob{Workers: 8, Operations: 5000, Seed: 20261, Storm: true, Foretold: true}
	if testing.Short() || raceEnabled {
		job.Operations = 800
	}
	for _, name := range []string{"moby", "vishvananda"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { testGoClient(t, lab, name, job) })
		})
	}
}

func testGoClient(t *testing.T, lab *netnstest.Lab, name string, job clientJob) {
	d := serveCountingDirector(t, lab.Home)
	const standing = 100 // services that are always there, so that a listing takes several datagrams
	d.fill(t, standing, 1)
	self, err := os.Executable()
	require.NoError(t, err)
	text, err := json.Marshal(job)
	require.NoError(t, err)
	words := wrapped(self, string(text))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = ownProgram(name)
	var out bytes.Buffer
	cmd.Stdout = &out
	start := time.Now()
	wrapper := lab.Home.StartCmd(cmd)
	stop := storm(wrapper.Pid(), unix.SIGURG)
	err = wrapper.Wait()
	signals := stop()
	require.NoError(t, err, "%s%s", &out, wrapper.Output())
	var report clientReport
	require.NoError(t, json.Unmarshal(out.Bytes(), &report), wrapper.Output())
	assert.Empty(t, report.Failed, wrapper.Output())
	assert.Equal(t, report.Done, d.counted(), "what was asked for happened, once")
	total := 0
	for _, n := range report.Done {
		total += n
	}
	assert.GreaterOrEqual(t, total, job.Operations)
	left, err := d.Control.Services()
	require.NoError(t, err)
	assert.Len(t, left, standing)
	t.Logf("seed %d: %d changes, %d reads, %d and %d signals in %v", job.Seed, total, report.Reads, report.Signals, signals, time.Since(start).Round(time.Millisecond))
}

// A table far larger than a socket's buffer is listed whole.
func TestExecLargeTable(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ipvsadm")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		services := 1000
		if testing.Short() || raceEnabled {
			services = 300
		}
		serveCountingDirector(t, lab.Home).fill(t, services, 2)
		for _, list := range []string{"-Sn", "-Ln --stats --exact"} {
			words := strings.Fields(list)
			want := runIn(t, lab.Home, append([]string{program(), "ipvsadm"}, words...)...)
			got := runIn(t, lab.Home, wrapped(append([]string{"ipvsadm"}, words...)...)...)
			require.GreaterOrEqual(t, strings.Count(want.Out, "\n"), 3*services, want.Err)
			require.True(t, want == got, "%s: want %d lines, have %d, status %d: %s",
				list, strings.Count(want.Out, "\n"), strings.Count(got.Out, "\n"), got.Status, got.Err)
		}
	})
}

// manyProcesses runs eight shells side by side that start ipvsadm all the time.
const manyProcesses = `
for i in 1 2 3 4 5 6 7 8; do
	(
		for k in $(seq $ROUNDS); do
			ipvsadm -A -u 10.88.$i.$k:53 -s rr && ipvsadm -a -u 10.88.$i.$k:53 -r 10.89.0.$i -m && ipvsadm -e -u 10.88.$i.$k:53 -r 10.89.0.$i -m -w 7 || exit 1
			ipvsadm -Sn -u 10.88.$i.$k:53 2>/dev/null && exit 2
			set -- $(ipvsadm -Ln -u 10.88.$i.$k:53 | tail -1)
			[ "$*" = "-> 10.89.0.$i:53 Masq 7 0 0" ] || exit 3
			ipvsadm -D -u 10.88.$i.$k:53 || exit 4
		done
	) &
	all="$all $!"
done
for pid in $all; do wait $pid || exit $?; done
`

// Processes that come and go by the hundred do not get in each other's way.
func TestExecManyProcesses(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ipvsadm")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := serveCountingDirector(t, lab.Home)
		rounds := 20
		if testing.Short() || raceEnabled {
			rounds = 5
		}
		o := runIn(t, lab.Home, wrapped("env", fmt.Sprintf("ROUNDS=%d", rounds), "sh", "-c", manyProcesses)...)
		require.Equal(t, outcome{}, o)
		each := 8 * rounds
		require.Equal(t, map[string]int{"add service": each, "add server": each, "edit server": each, "delete service": each}, d.counted())
	})
}

// runClient is the test program of a library: the job is its argument.
func runClient(name string) int {
	var job clientJob
	if err := json.Unmarshal([]byte(os.Args[1]), &job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	open := map[string]func() (client, error){"moby": openMoby, "vishvananda": openVishvananda}[name]
	report := clientReport{Done: map[string]int{}}
	var stormed func() int
	if job.Storm {
		signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1)
		stormed = storm(os.Getpid(), unix.SIGURG, unix.SIGUSR1)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range job.Workers {
		all.Go(func() {
			w := &clientWorker{number: i, foretold: job.Foretold, rng: rand.New(rand.NewPCG(job.Seed, uint64(i))), done: map[string]int{}}
			err := w.work(open, job.Operations/job.Workers)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				report.Failed = append(report.Failed, fmt.Sprintf("worker %d after %v: %v", i, w.done, err))
			}
			for kind, n := range w.done {
				report.Done[kind] += n
			}
			report.Reads += w.reads
		})
	}
	all.Wait()
	if stormed != nil {
		report.Signals = stormed()
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return 1
	}
	return 0
}

// storm sends signals to all threads of a process, one after the other, until
// the function it returns is called, which says how many. The Go runtime sends
// SIGURG to its own to preempt goroutines, profilers send others.
func storm(pid int, signals ...unix.Signal) (stop func() int) {
	quit, sent := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for i := 0; ; i++ {
			select {
			case <-quit:
				sent <- n
				return
			case <-time.After(200 * time.Microsecond):
			}
			threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
			if err != nil || len(threads) == 0 {
				continue
			}
			tid, _ := strconv.Atoi(threads[i%len(threads)].Name())
			if unix.Tgkill(pid, tid, signals[n%len(signals)]) == nil {
				n++
			}
		}
	}()
	return func() int { close(quit); return <-sent }
}

// clientWorker makes changes to services of its own.
type clientWorker struct {
	number   int
	foretold bool
	rng      *rand.Rand
	c        client
	done     map[string]int
	reads    int
}

// work makes n changes, and no fewer.
func (w *clientWorker) work(open func() (client, error), n int) (err error) {
	for made := 0; made < n; {
		if w.c, err = open(); err != nil {
			return err
		}
		for range 4 {
			before := made
			if made, err = w.life(made); err != nil {
				w.c.Close()
				return fmt.Errorf("after %d changes: %w", before, err)
			}
		}
		w.c.Close()
	}
	return nil
}

// life is a service's, from its making to its end.
func (w *clientWorker) life(made int) (int, error) {
	svc := w.service(made)
	if err := w.change("add service", w.c.AddService(svc)); err != nil {
		return made, err
	}
	var servers []clientServer
	for i := range 1 + w.rng.IntN(3) {
		rs := w.server(svc, i)
		if err := w.change("add server", w.c.AddServer(svc, rs)); err != nil {
			return made, err
		}
		servers = append([]clientServer{rs}, servers...) // newest first
	}
	if err := w.check(svc, servers); err != nil {
		return made, err
	}
	svc.Scheduler, svc.Timeout = "wlc", 360
	if err := w.change("edit service", w.c.EditService(svc)); err != nil {
		return made, err
	}
	for i := range servers {
		servers[i].Weight += 100
		servers[i].Upper, servers[i].Lower = 9, 5
		if err := w.change("edit server", w.c.EditServer(svc, servers[i])); err != nil {
			return made, err
		}
	}
	if err := w.check(svc, servers); err != nil {
		return made, err
	}
	made += 3 + 2*len(servers) // with the service's end, which takes its servers with it
	if w.rng.IntN(2) == 0 {
		if err := w.change("delete server", w.c.DeleteServer(svc, servers[0])); err != nil {
			return made, err
		}
		made++
		if err := w.check(svc, servers[1:]); err != nil {
			return made, err
		}
	}
	return made, w.end(svc)
}

// end deletes a service, which is then gone, and cannot be deleted again.
func (w *clientWorker) end(svc clientService) error {
	if err := w.change("delete service", w.c.DeleteService(svc)); err != nil {
		return err
	}
	w.reads++
	if _, err := w.c.Service(svc); !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("a deleted service reads as %v", err)
	}
	return nil
}

func (w *clientWorker) change(kind string, err error) error {
	w.done[kind]++
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// service makes up a service: of every family, some by mark.
func (w *clientWorker) service(n int) clientService {
	svc := clientService{
		IP: fmt.Sprintf("10.77.%d.%d", w.number, 1+n%250), Port: uint16(1 + w.rng.IntN(65535)),
		Scheduler: []string{"rr", "wrr", "lc", "sh", "mh"}[w.rng.IntN(5)],
	}
	if w.rng.IntN(3) == 0 {
		svc.IP = fmt.Sprintf("fd77:%d::%x", 1+w.number, 1+n)
	}
	if w.rng.IntN(6) == 0 {
		svc.Mark, svc.Port = uint32(1+w.number<<20+n), 0
		svc.IP = map[uint16]string{unix.AF_INET6: "::", unix.AF_INET: "0.0.0.0"}[svc.family()]
	}
	if w.rng.IntN(2) == 0 {
		svc.Timeout = uint32(1 + w.rng.IntN(1000))
	}
	return svc
}

// server makes up a real server, the i-th of its service.
func (w *clientWorker) server(svc clientService, i int) clientServer {
	rs := clientServer{
		IP: fmt.Sprintf("10.78.%d.%d", w.number, 1+i), Port: svc.Port,
		Method: uint32([]int{0, 2, 3}[w.rng.IntN(3)]), Weight: w.rng.IntN(1000),
	}
	if svc.family() == unix.AF_INET6 {
		rs.IP = fmt.Sprintf("fd78:%d::%x", 1+w.number, 1+i)
	}
	if svc.Mark != 0 {
		rs.Port = uint16(8000 + i)
	}
	return rs
}

func (s clientService) family() uint16 {
	if strings.Contains(s.IP, ":") {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// check reads the service and its servers back, alone and among all.
func (w *clientWorker) check(svc clientService, servers []clientServer) error {
	if svc.Mark == 0 {
		svc.Stats = w.stats(svc.IP, svc.Port)
	}
	w.reads += 3
	got, err := w.c.Service(svc)
	if err != nil {
		return fmt.Errorf("read service: %w", err)
	}
	if got != svc {
		return fmt.Errorf("service: want %+v, have %+v", svc, got)
	}
	all, err := w.c.Services()
	if err != nil {
		return fmt.Errorf("read services: %w", err)
	}
	found := 0
	for _, s := range all {
		if s == svc {
			found++
		}
	}
	if found != 1 {
		return fmt.Errorf("service %+v is listed %d times: %+v", svc, found, all)
	}
	have, err := w.c.Servers(svc)
	if err != nil {
		return fmt.Errorf("read servers: %w", err)
	}
	if len(have) != len(servers) {
		return fmt.Errorf("servers: want %+v, have %+v", servers, have)
	}
	for i, want := range servers {
		want.Stats = w.stats(want.IP, want.Port)
		if have[i] != want {
			return fmt.Errorf("server: want %+v, have %+v", want, have[i])
		}
	}
	return nil
}

// stats are the counters that the director should show of an address that no
// packet has come to.
func (w *clientWorker) stats(ip string, port uint16) ipvs.Stats {
	if !w.foretold {
		return ipvs.Stats{}
	}
	return foretold(netip.MustParseAddr(ip).AsSlice(), port)
}
