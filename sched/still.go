package sched

// Still returns a copy of s that decides as s does until its next Update and that
// any number may ask at once; nil if s has to remember what it decides.
func Still(s Scheduler) Scheduler {
	switch s := s.(type) {
	case *lc:
		return still(s.serverList, func(l serverList) Scheduler { return &lc{l} })
	case *wlc:
		return still(s.serverList, func(l serverList) Scheduler { return &wlc{l} })
	case *sed:
		return still(s.serverList, func(l serverList) Scheduler { return &sed{l} })
	case *nq:
		return still(s.serverList, func(l serverList) Scheduler { return &nq{l} })
	case *fo:
		return still(s.serverList, func(l serverList) Scheduler { return &fo{l} })
	case *ovf:
		return still(s.serverList, func(l serverList) Scheduler { return &ovf{l} })
	case *dh:
		c := *s
		return &c
	case *sh:
		c := *s
		return &c
	}
	return nil
}

// still makes a scheduler of few servers; a ranking changes with every question.
func still(l serverList, of func(serverList) Scheduler) Scheduler {
	if l.ranking != nil {
		return nil
	}
	return of(l)
}
