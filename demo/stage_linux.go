package demo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"usvs/link/netlab"
)

// discardPort is where RFC 863 has datagrams thrown away.
const discardPort = 9

// stage plays a scene: its network and its processes.
type stage struct {
	*scene
	page      *page
	lab       *lab
	requests  int
	processes []*netlab.Process // in the order they were started
	director  *netlab.Process
}

// play plays the scene to its end. The error says what did not work.
func (st *stage) play() error {
	st.page.title(st.title)
	st.page.line("%s", strings.Trim(st.picture, "\n"))
	st.page.line("")
	var err error
	if st.lab, err = buildLab(st.scene); err != nil {
		return fmt.Errorf("this machine cannot have the demo's network: %w", err)
	}
	for _, step := range []func() error{st.startServers, st.startDirector, st.addService} {
		if err := step(); err != nil {
			return st.withLog(err)
		}
	}
	trace, err := st.watch()
	if err != nil {
		return st.withLog(err)
	}
	b := &browser{hold: st.hold, dial: func(network, addr string, fromPort int) (net.Conn, error) {
		return st.lab.dial("client", network, addr, fromPort)
	}}
	defer b.close()
	if err = st.browse(b); err == nil {
		err = st.list() // with the connections still open, if they are kept open
	}
	// What the trace shows is worth most when the requests failed.
	return st.withLog(errors.Join(err, st.explain(trace)))
}

// end stops the scene's processes, the newest first, and gives up the network.
func (st *stage) end() {
	for i := len(st.processes) - 1; i >= 0; i-- {
		st.processes[i].Stop()
	}
	if st.lab != nil {
		st.lab.close()
	}
}

// withLog adds the end of the director's log to an error.
func (st *stage) withLog(err error) error {
	if err == nil || st.director == nil {
		return err
	}
	return fmt.Errorf("%w\nthe director's log ends with:\n%s", err, tail(st.director.Output()))
}

// start starts this program on a machine, to run until the scene ends.
func (st *stage) start(machine string, args ...string) (*netlab.Process, error) {
	p, err := start(st.lab.machines[machine], args...)
	if err == nil {
		st.processes = append(st.processes, p)
	}
	return p, err
}

// typed shows a command of an operator and runs it.
func (st *stage) typed(machine string, words []string) (string, error) {
	st.page.command(machine, words)
	return run(st.lab.machines[machine], words[1:]...)
}

// startServers starts a web server on every real server, and where answers do
// not pass the director makes it take packets for the VIP.
func (st *stage) startServers() error {
	var names []string
	for _, rs := range st.servers {
		p, err := st.start(rs.name, "demo", "serve", rs.name, fmt.Sprintf(":%d", st.vip.Port()))
		if err != nil {
			return err
		}
		if err := p.WaitFor("web server of "+rs.name, patience, func(out string) bool { return strings.Contains(out, listening) }); err != nil {
			return err
		}
		names = append(names, rs.name)
	}
	if !st.realserver {
		return nil
	}
	words := st.realserverCommand()
	st.page.command(strings.Join(names, " "), words)
	for _, name := range names {
		if _, err := run(st.lab.machines[name], words[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// startDirector starts usvs on the director and waits until it takes commands.
func (st *stage) startDirector() error {
	words := st.runCommand()
	st.page.command("director", append(words[:len(words):len(words)], "&"))
	var err error
	if st.director, err = st.start("director", words[1:]...); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		_, err := run(st.lab.machines["director"], "ipvsadm", "-Ln")
		if err == nil {
			return nil
		}
		select {
		case <-st.director.Done():
			return fmt.Errorf("the director ended: %v", st.director.Err())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the director takes no commands: %w", err)
		}
	}
}

func (st *stage) addService() error {
	for _, words := range st.directorCommands() {
		if _, err := st.typed("director", words); err != nil {
			return err
		}
	}
	return nil
}

// watch starts to follow the director's trace. That it is being followed shows
// when a frame appears in it, so the client sends some until one does.
func (st *stage) watch() (*netlab.Process, error) {
	p, err := st.start("director", "trace", "--json", "-c", fmt.Sprint(traced))
	if err != nil {
		return nil, err
	}
	seen := make(chan struct{})
	defer close(seen)
	knock, err := st.lab.dial("client", "udp", netip.AddrPortFrom(st.find("director").addr(), discardPort).String(), 0)
	if err != nil {
		return nil, err
	}
	go func() {
		defer knock.Close()
		for {
			_, _ = knock.Write([]byte("seen?")) // refused, for nobody listens there
			select {
			case <-seen:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return p, p.WaitFor("the director's trace", patience, func(out string) bool { return strings.Contains(out, "\n") })
}

// browse makes the requests and judges the answers.
func (st *stage) browse(b *browser) error {
	client := st.find("client").addr().String()
	url := fmt.Sprintf("http://%s/", st.vip.Addr())
	st.page.line("   %s GET %s   %d times, a connection each; %s", st.page.paint(dim, "client#"), url, st.requests, st.remark)
	answered := map[string]int{}
	roll := &roll{page: st.page}
	defer roll.end()
	for i := range st.requests {
		a, err := b.get(url)
		if err != nil {
			return fmt.Errorf("request %d of %d: %w", i+1, st.requests, err)
		}
		if a.client != client {
			return fmt.Errorf("request %d: %s saw the client as %s instead of %s", i+1, a.server, a.client, client)
		}
		answered[a.server]++
		roll.add(a.server)
	}
	roll.end()
	if !st.page.shares(st.scene, answered, st.requests) {
		return fmt.Errorf("%s did not give every real server its share", st.scheduler)
	}
	return nil
}

func (st *stage) list() error {
	st.page.line("")
	out, err := st.typed("director", []string{"usvs", "ipvsadm", "-Ln"})
	st.page.quote(out)
	return err
}

// explain shows what the director did to the first request, and how its answer
// went back.
func (st *stage) explain(trace *netlab.Process) error {
	var syn, answer passage
	var events []event
	err := trace.WaitFor("the first request in the director's trace", patience, func(out string) bool {
		var err error
		if events, err = parseTrace(out); err != nil {
			return false
		}
		var ok bool
		if syn, ok = firstSYN(events, st.vip); !ok || st.wayBack != "" {
			return ok
		}
		answer, ok = firstAnswer(events, syn)
		return ok
	})
	trace.Stop()
	if err != nil {
		return err
	}
	st.page.line("")
	st.page.command("director", []string{"usvs", "trace"})
	o := st.owners()
	st.page.passage("the first SYN came to the director", "and left", syn, o)
	if err := st.checkForwarded(syn); err != nil {
		return err
	}
	if st.wayBack == "" {
		st.page.passage("the answer came to the director", "and left", answer, o)
		return st.checkAnswer(answer)
	}
	segments, answers := answersSeen(events, st.vip.Port())
	st.page.line("   The way back: %s.", st.wayBack)
	if answers > 0 {
		return fmt.Errorf("%d answers passed the director; they should go straight to the client", answers)
	}
	st.page.line("   Of the first %d TCP segments the director saw, all came from the client.", segments)
	return nil
}
