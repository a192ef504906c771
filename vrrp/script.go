package vrrp

import (
	"fmt"

	"usvs/clock"
)

// script is a track script: a counter of its successes, and when it runs next.
type script struct {
	*Script
	result  int  // up from Rise on
	ran     bool // once, or was told to count as failed until then
	running bool
	last    ScriptResult
	nextRun clock.Instant
}

func newScript(cfg *Script) *script {
	s := &script{Script: cfg, result: cfg.Rise - 1, nextRun: clock.Never}
	if cfg.InitFail {
		s.result, s.ran = 0, true
	}
	return s
}

// known reports whether there is a result to act upon.
func (s *script) known() bool { return s.ran }
func (s *script) up() bool    { return s.result >= s.Rise }

// count takes a result in and reports whether that makes the script up or down.
func (s *script) count(ok bool) (changed bool) {
	first := !s.ran
	s.ran = true
	best := s.Rise + s.Fall - 1
	was := s.up()
	switch {
	case ok && s.result+1 < s.Rise:
		s.result++
	case ok:
		s.result = best
	case s.result > s.Rise:
		s.result--
	default:
		s.result = 0
	}
	return first || s.up() != was
}

func (res ScriptResult) ok() bool { return !res.TimedOut && res.Signal == 0 && res.Status == 0 }

// how is keepalived's account of a result.
func (res ScriptResult) how() string {
	switch {
	case res.TimedOut:
		return "timed_out"
	case res.Signal != 0:
		return fmt.Sprintf("failed (due to signal %d)", res.Signal)
	case res.Status != 0:
		return fmt.Sprintf("failed (exited with status %d)", res.Status)
	}
	return "succeeded"
}

// SetScript tells how the run of a script ended that RunScript began.
func (r *Router) SetScript(now clock.Instant, name string, res ScriptResult) {
	s := r.script(name)
	if s == nil || !s.running {
		return
	}
	s.running = false
	if res.Status != s.last.Status && res.Signal == 0 && !res.TimedOut {
		r.fx.Log(Info, fmt.Sprintf("Script `%s` now returning %d", name, res.Status))
	}
	s.last = res
	if !s.count(res.ok()) || !r.running {
		return
	}
	r.fx.Log(Info, "VRRP_Script("+name+") "+res.how())
	r.reviewAll(now)
}

// tickScripts begins the runs that are due, and returns when the next is.
func (r *Router) tickScripts(now clock.Instant) clock.Instant {
	next := clock.Never
	for _, s := range r.scripts {
		if !now.Before(s.nextRun) {
			s.nextRun = now.Add(s.Interval)
			r.run(s)
		}
		next = next.Min(s.nextRun)
	}
	return next
}

func (r *Router) run(s *script) {
	if s.running {
		r.fx.Log(Info, "Track script "+s.Name+" is already running, expect idle - skipping run")
		return
	}
	s.running = true
	r.fx.RunScript(s.Name)
}

func (r *Router) script(name string) *script {
	for _, s := range r.scripts {
		if s.Name == name {
			return s
		}
	}
	return nil
}
