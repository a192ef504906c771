package notify

import (
	"context"
	"fmt"
	"sync"
	"time"

	"usvs/script"
)

// Level says who wants to read a line of the log.
type Level int

// The levels of Log.
const (
	Info Level = iota
	Detail
	Warning
)

// Log takes what is worth telling. It is called from several goroutines.
type Log func(level Level, text string)

// queueLimit bounds how many scripts of one queue wait.
const queueLimit = 1024

// ScriptsConfig is what notify scripts run by.
type ScriptsConfig struct {
	// Policy is script_user and enable_script_security.
	Policy script.Policy
	// Limit is how long a script may take, 0 for ever.
	Limit time.Duration
	// Parallel is how many run at once; 0 stands for 16.
	Parallel int
	// Log may be nil.
	Log Log
}

// Scripts runs notify scripts. It is safe for concurrent use.
type Scripts struct {
	config ScriptsConfig
	slots  chan struct{} // one for each script that runs
	ctx    context.Context
	stop   context.CancelFunc
	all    sync.WaitGroup // one for each queue with work

	mu     sync.Mutex
	queues map[string][]script.Command // guarded by mu; what waits, by queue
	closed bool                        // guarded by mu
}

// NewScripts returns a runner of notify scripts.
func NewScripts(c ScriptsConfig) *Scripts {
	if c.Parallel <= 0 {
		c.Parallel = 16
	}
	if c.Log == nil {
		c.Log = func(Level, string) {}
	}
	s := &Scripts{config: c, slots: make(chan struct{}, c.Parallel), queues: map[string][]script.Command{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Run runs a command when the ones before it in the same queue have ended.
func (s *Scripts) Run(queue string, c script.Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting, busy := s.queues[queue]
	switch {
	case s.closed:
		return
	case len(waiting) >= queueLimit:
		s.config.Log(Warning, fmt.Sprintf("%s: too many scripts are waiting, %v is not run", queue, c.Args))
		return
	}
	s.queues[queue] = append(waiting, c)
	if !busy {
		s.all.Add(1)
		go s.drain(queue)
	}
}

// SetPolicy replaces the policy, for scripts that have not begun.
func (s *Scripts) SetPolicy(p script.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.Policy = p
}

// Close runs what waits, but ends it all when the context is done.
func (s *Scripts) Close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	defer context.AfterFunc(ctx, s.stop)()
	s.all.Wait()
	s.stop()
}

// drain runs the scripts of a queue until none is left.
func (s *Scripts) drain(queue string) {
	defer s.all.Done()
	for {
		c, policy, ok := s.next(queue)
		if !ok {
			return
		}
		select {
		case s.slots <- struct{}{}:
			if s.ctx.Err() == nil { // both may be ready
				s.run(c, policy)
			}
			<-s.slots
		case <-s.ctx.Done():
		}
	}
}

func (s *Scripts) next(queue string) (script.Command, script.Policy, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.queues[queue]
	if len(waiting) == 0 {
		delete(s.queues, queue)
		return script.Command{}, script.Policy{}, false
	}
	s.queues[queue] = waiting[1:]
	return waiting[0], s.config.Policy, true
}

// run runs one script. Its status is of no consequence, but worth a line for
// who looks into details. What it writes is not read: a daemon that it leaves
// behind may go on writing for as long as it lives.
func (s *Scripts) run(c script.Command, policy script.Policy) {
	prog, err := policy.Prepare(c)
	if err != nil {
		s.config.Log(Warning, err.Error())
		return
	}
	exit := prog.Run(s.ctx, script.Options{Limit: s.config.Limit})
	switch {
	case exit.Err != nil:
		s.config.Log(Warning, exit.Err.Error())
	case !exit.OK():
		s.config.Log(Detail, fmt.Sprintf("script %s: %v", prog, exit))
	}
}
