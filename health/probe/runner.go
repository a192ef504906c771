package probe

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"usvs/health"
	"usvs/health/dialog"
	"usvs/script"
	"usvs/track"
)

// How much runs at once unless a Config says otherwise. A socket waits for a
// dead server as long as its timeout, 5 s by default: with this many, 20,000
// dead servers are still seen to every 25 s.
const (
	defaultSockets = 4096
	defaultScripts = 64
)

// defaultTimeout is connect_timeout's default.
const defaultTimeout = 5 * time.Second

// Config is what a Runner is made of. All of it is optional.
type Config struct {
	// Policy is script_user and enable_script_security, for MISC_CHECK.
	Policy script.Policy
	// Sockets and Scripts are how many attempts run at once. Sockets is kept
	// to half of the files that the process may open.
	Sockets, Scripts int
	// Via connects by way of the VIP to servers that are reached by direct
	// routing or in a tunnel, for probes that ask for it; network is tcp or
	// udp. An error that is ErrLocal is no result. Without Via such probes go
	// to the server's own address, and Warn is told.
	Via Dial
	// Warn is told once what Via is missing for.
	Warn func(text string)
}

// Dial connects to a probe's server within the probe's timeout.
type Dial func(ctx context.Context, network string, p *health.Probe) (net.Conn, error)

// Runner runs probes. It is safe for concurrent use.
type Runner struct {
	via    Dial
	warn   func(text string)
	warned sync.Once
	report func(health.CheckID, health.Result)
	files  *track.Files[health.CheckID]
	ctx    context.Context
	stop   context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	policy script.Policy           // guarded by mu
	jobs   map[health.CheckID]*job // guarded by mu; waiting, running, watching
	lanes  [2]lane                 // guarded by mu
	closed bool                    // guarded by mu
}

// job is one attempt from Start to its end.
type job struct {
	id     health.CheckID
	probe  *health.Probe
	lane   *lane
	ctx    context.Context
	cancel context.CancelFunc
}

// New returns a Runner. report gets the results; it is called by goroutines of
// the Runner, several at once, and never after Close has returned.
func New(c Config, report func(health.CheckID, health.Result)) *Runner {
	r := &Runner{via: c.Via, warn: c.Warn, report: report, policy: c.Policy, jobs: map[health.CheckID]*job{}}
	r.lanes[0].limit, r.lanes[1].limit = sockets(c.Sockets), c.Scripts
	if c.Scripts <= 0 {
		r.lanes[1].limit = defaultScripts
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.files = track.NewFiles(func(id health.CheckID, value int) {
		report(id, health.Result{Outcome: health.Success, Status: value})
	})
	return r
}

func sockets(asked int) int {
	if asked <= 0 {
		asked = defaultSockets
	}
	return max(1, min(asked, openFiles()/2))
}

// SetPolicy replaces the policy for scripts that have not begun.
func (r *Runner) SetPolicy(p script.Policy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy = p
}

// Start begins an attempt. Its result is reported once; of a kind that
// watches, each time there is something new, until Cancel.
func (r *Runner) Start(id health.CheckID, p *health.Probe) {
	if p.Kind == health.File {
		r.files.Watch(id, p.Name)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	j := &job{id: id, probe: p, lane: &r.lanes[0]}
	if p.Kind == health.Misc {
		j.lane = &r.lanes[1]
	}
	j.ctx, j.cancel = context.WithCancel(r.ctx)
	r.jobs[id] = j
	j.lane.add(j)
	r.dispatchLocked(j.lane)
}

// Cancel ends an attempt. A result that is on its way may still be reported.
func (r *Runner) Cancel(id health.CheckID) {
	r.files.Unwatch(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if j := r.jobs[id]; j != nil {
		j.cancel()
		delete(r.jobs, id)
	}
}

// Close ends everything, and waits for it.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.files.Close()
	r.all.Wait()
}

// Load returns how many attempts run and how many wait.
func (r *Runner) Load() (running, waiting int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.lanes {
		running += r.lanes[i].running
		waiting += r.lanes[i].waiting()
	}
	return running, waiting
}

// dispatchLocked begins what there are slots for.
func (r *Runner) dispatchLocked(l *lane) {
	for l.running < l.limit && !r.closed {
		j := l.take()
		if j == nil {
			return
		}
		if j.ctx.Err() != nil {
			continue // cancelled while it waited
		}
		l.running++
		policy := r.policy
		r.all.Go(func() { r.run(j, policy) })
	}
}

// run makes an attempt, gives its slot to the next and reports.
func (r *Runner) run(j *job, policy script.Policy) {
	result := r.attempt(j, policy)
	r.mu.Lock()
	wanted := r.jobs[j.id] == j && !r.closed
	if wanted {
		delete(r.jobs, j.id)
	}
	j.lane.running--
	r.dispatchLocked(j.lane)
	r.mu.Unlock()
	j.cancel()
	if wanted {
		r.report(j.id, result)
	}
}

func (r *Runner) attempt(j *job, policy script.Policy) health.Result {
	if j.probe.Kind == health.Misc {
		return runs(j.ctx, j.probe, policy)
	}
	p, dial := r.route(j.probe)
	d, err := dialog.New(&p, uint16(rand.Uint32()))
	switch {
	case err != nil:
		return localError(err)
	case !p.Target.IsValid():
		return localError(errNoTarget)
	case p.Kind == health.Ping:
		return echoes(j.ctx, &p, d)
	}
	return converse(j.ctx, dial, &p, d)
}

// route finds the way of a probe, and what it leaves open.
func (r *Runner) route(asked *health.Probe) (health.Probe, Dial) {
	p := *asked
	if p.Timeout <= 0 {
		p.Timeout = defaultTimeout
	}
	if p.Path != health.ViaVIP {
		return p, direct
	}
	p.Target = p.Via.RIP()
	switch {
	case !p.Via.Forwarded():
		return p, direct
	case r.via != nil:
		return p, r.via
	case r.warn != nil:
		r.warned.Do(func() {
			r.warn("check_path vip: servers reached by direct routing or in a tunnel are checked at their own addresses")
		})
	}
	return p, direct
}

// lane is a number of slots and what waits for them, in order.
type lane struct {
	limit, running int
	queue          []*job
	head           int // of queue
}

func (l *lane) add(j *job) { l.queue = append(l.queue, j) }

func (l *lane) waiting() int { return len(l.queue) - l.head }

// take removes the first, nil if there is none.
func (l *lane) take() *job {
	if l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
		return nil
	}
	j := l.queue[l.head]
	l.queue[l.head] = nil
	l.head++
	if l.head > len(l.queue)/2 && l.head > 64 {
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
	return j
}
