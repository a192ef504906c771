package track

import (
	"context"
	"sync"
	"time"

	"usvs/script"
)

// Script is a vrrp_script: what to run, and how long it may take.
type Script struct {
	Command script.Command
	Limit   time.Duration
}

// Scripts runs tracking scripts when it is told to, each at most once at a
// time. It is safe for concurrent use.
type Scripts struct {
	done func(name string, exit script.Exit)
	ctx  context.Context
	stop context.CancelFunc
	all  sync.WaitGroup

	mu      sync.Mutex
	policy  script.Policy       // guarded by mu
	scripts map[string]Script   // guarded by mu
	running map[string]*attempt // guarded by mu
	closed  bool                // guarded by mu
}

// attempt is one run of a script.
type attempt struct{ cancel context.CancelFunc }

// NewScripts returns a runner of tracking scripts. done is told how each run
// ended, except runs that Set or Close ended.
func NewScripts(done func(name string, exit script.Exit)) *Scripts {
	s := &Scripts{done: done, scripts: map[string]Script{}, running: map[string]*attempt{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Set replaces the scripts and the policy. A run of a script that is not
// there any more is ended and not told of; others go on.
func (s *Scripts) Set(policy script.Policy, scripts map[string]Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy, s.scripts = policy, scripts
	for name, a := range s.running {
		if _, still := scripts[name]; !still {
			a.cancel()
			delete(s.running, name)
		}
	}
}

// Run begins a run of a script. It reports false if the script runs already,
// or is not one of those set.
func (s *Scripts) Run(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	what, known := s.scripts[name]
	if s.closed || !known || s.running[name] != nil {
		return false
	}
	ctx, cancel := context.WithCancel(s.ctx)
	a := &attempt{cancel}
	s.running[name] = a
	policy := s.policy
	s.all.Go(func() {
		defer cancel()
		exit := run(ctx, policy, what)
		if s.finished(name, a) {
			s.done(name, exit)
		}
	})
	return true
}

func run(ctx context.Context, policy script.Policy, what Script) script.Exit {
	prog, err := policy.Prepare(what.Command)
	if err != nil {
		return script.Exit{Err: err}
	}
	return prog.Run(ctx, script.Options{Limit: what.Limit, Bound: true})
}

// finished notes the end of a run, and reports whether anybody wants to know.
func (s *Scripts) finished(name string, a *attempt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[name] != a {
		return false
	}
	delete(s.running, name)
	return !s.closed
}

// Close ends all runs and waits for their ends.
func (s *Scripts) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.all.Wait()
}
