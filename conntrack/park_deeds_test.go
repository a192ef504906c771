//go:build parkpoints

package conntrack

import (
	"time"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// deeds are what an actor does: prepare the scene, then act on it.
var deeds = map[string]func(s *scene) (act func()){
	"insert": func(s *scene) func() {
		return func() { s.insertMaybe(tcpSpec(1, s.servers[0])) }
	},
	"find": func(s *scene) func() {
		s.add(1, Ref{})
		return func() {
			for _, dir := range []Dir{DirIn, DirOut} {
				ref, rs := find(s.table, s.now, dir, ipvs.TCP, client(1), testVIP)
				require.Equal(s.tb, ref.IsZero(), rs == nil)
				require.Contains(s.tb, []*ipvs.RealServer{nil, s.servers[0]}, rs)
			}
		}
	},
	"insert a child": func(s *scene) func() {
		tmpl := s.template(1, time.Minute)
		return func() {
			spec := tcpSpec(1, s.servers[0])
			spec.Control = tmpl.Ref
			s.insertMaybe(spec)
		}
	},
	"insert where one is": func(s *scene) func() {
		s.add(1, Ref{})
		return func() { s.insertMaybe(tcpSpec(1, s.servers[0])) }
	},
	"insert where one has expired": func(s *scene) func() {
		s.add(1, Ref{})
		s.now = s.now.Add(4 * time.Second)
		return func() { s.insertMaybe(tcpSpec(1, s.servers[0])) }
	},
	"insert until it grows": func(s *scene) func() {
		s.fill(4 * perLine)
		return func() { s.insertMaybe(tcpSpec(5, s.servers[0])) }
	},
	"insert while it grows": func(s *scene) func() {
		s.fill(4*perLine + 1)
		return func() {
			for n := range 4 {
				s.insertMaybe(tcpSpec(n+1, s.servers[0]))
			}
		}
	},
	"split a bucket that overflows": func(s *scene) func() {
		s.crowd(1, 9)
		s.fill(4*perLine - 9 + 1)
		return func() {
			s.insertMaybe(crowdSpec(1, 9, s.servers[0]))
			s.table.settle()
			s.table.settle()
		}
	},
	"overflow": func(s *scene) func() {
		s.crowd(1, 6)
		return func() {
			for n := range 10 {
				s.insertMaybe(crowdSpec(1, 6+n, s.servers[0]))
			}
		}
	},
	"overflow no more": func(s *scene) func() {
		all := s.crowd(1, 16)
		return func() {
			for _, c := range all {
				s.table.Expire(s.now, c.Ref)
			}
		}
	},
	"packets where it overflows": func(s *scene) func() {
		all := s.crowd(1, 16)
		for i := range all {
			s.table.Packet(s.now, &all[i], DirIn, TCPEvent(16))
		}
		return func() {
			var h Hot
			for i := range all {
				hit(s.table, s.now, Dir(i%2), ipvs.TCP, all[i].Client, all[i].Virtual, TCPEvent(16), &h)
			}
		}
	},
	"look up in a new bucket": func(s *scene) func() {
		for n := range 40 {
			s.add(n+1, Ref{})
		}
		return func() {
			for n := range 40 {
				s.look(n + 1)
			}
		}
	},
	"packets": func(s *scene) func() {
		tmpl := s.template(1, time.Minute)
		c := s.add(1, tmpl.Ref)
		return func() {
			s.table.Packet(s.now, &c, DirIn, TCPEvent(2))    // SYN
			s.table.Packet(s.now, &c, DirIn, TCPEvent(16))   // ACK
			s.table.Packet(s.now, &c, DirOut, TCPEvent(16))  // ACK
			s.table.Packet(s.now, &c, DirIn, TCPEvent(16|4)) // RST: a shorter timeout
			s.table.Packet(s.now, &c, DirIn, TCPEvent(2))    // SYN
			s.table.Rearm(s.now, tmpl.Ref)
		}
	},
	"packets of a batch": func(s *scene) func() {
		c := s.add(1, Ref{})
		s.table.Packet(s.now, &c, DirIn, TCPEvent(16))
		return func() {
			s.now = s.now.Add(tick)
			var h Hot
			hit(s.table, s.now, DirIn, ipvs.TCP, client(1), testVIP, TCPEvent(16), &h)
			hit(s.table, s.now, DirOut, ipvs.TCP, client(1), testVIP, TCPEvent(16), &h)
		}
	},
	"trim": func(s *scene) func() {
		s.leave(2 * (chunkSize - 1))
		for _, i := range s.take(3) {
			s.table.entries.put(0, i)
		}
		return func() {
			budget := 5 * chunkSize
			s.table.trim(&budget)
			s.insertMaybe(tcpSpec(1, s.servers[0]))
			s.insertMaybe(tcpSpec(2, s.servers[0]))
		}
	},
	"send home": func(s *scene) func() {
		for _, i := range s.take(5) {
			s.table.entries.put(0, i)
		}
		return func() {
			budget := 3
			s.table.entries.sendHome(&budget)
			for n := range 6 {
				s.insertMaybe(tcpSpec(n+1, s.servers[0]))
			}
		}
	},
	"grow into a new chunk": func(s *scene) func() {
		s.held = append(s.held, s.take(chunkSize-2)...)
		return func() {
			for n := range 3 {
				s.insertMaybe(tcpSpec(n+1, s.servers[0]))
			}
		}
	},
	"another worker's first": func(s *scene) func() {
		return func() { s.insertMaybe(workerSpec(1, 1, s.servers[0])) }
	},
	"adopt a chunk": func(s *scene) func() {
		s.leave(3)
		return func() {
			s.insertMaybe(workerSpec(1, 1, s.servers[0]))
			s.insertMaybe(workerSpec(2, 2, s.servers[0]))
		}
	},
	"count a batch": func(s *scene) func() {
		s.fill(countBatch - 2)
		return func() {
			s.insertMaybe(tcpSpec(1, s.servers[0]))
			s.insertMaybe(tcpSpec(2, s.servers[0]))
		}
	},
	"odd timeouts": func(s *scene) func() {
		return func() {
			spec := templateSpec(1, s.servers[0], 1500*time.Millisecond)
			s.insertMaybe(spec)
			var c Conn
			s.table.FindTemplate(s.now, spec, &c)
			s.table.Update(s.now, c.Ref, &Update{Timeout: 2500 * time.Millisecond})
			s.table.Rearm(s.now, c.Ref)
		}
	},
	"settings": func(s *scene) func() {
		return func() { s.table.SetTimeouts(ipvs.DefaultTimeouts) }
	},
	"shorten": func(s *scene) func() {
		c := s.add(1, Ref{})
		s.table.Packet(s.now, &c, DirIn, TCPEvent(16))
		s.pass(5 * time.Second) // the timer sleeps long
		return func() { s.table.Packet(s.now, &c, DirIn, TCPEvent(4)) }
	},
	"expire": func(s *scene) func() {
		tmpl := s.template(1, time.Minute)
		c := s.add(1, tmpl.Ref)
		s.add(2, Ref{})
		return func() {
			s.table.Expire(s.now, c.Ref)
			s.table.Expire(s.now, tmpl.Ref)
		}
	},
	"invalidate": func(s *scene) func() {
		tmpl := s.template(1, time.Minute)
		return func() { s.table.Invalidate(tmpl.Ref) }
	},
	"template outlived by its child": func(s *scene) func() {
		tmpl := s.template(1, time.Second)
		s.add(1, tmpl.Ref)
		s.now = s.now.Add(2 * time.Second)
		return func() {
			var c Conn
			s.table.LookupTemplate(s.now, ipvs.TCP, client(1).Addr(), templateSpec(1, s.servers[0], 0).Virtual, &c)
			s.table.Rearm(s.now, tmpl.Ref)
		}
	},
	"tick": func(s *scene) func() {
		tmpl := s.template(1, time.Second)
		s.add(1, tmpl.Ref)
		for n := range 6 {
			c := s.add(n+2, Ref{})
			s.table.Packet(s.now, &c, DirIn, TCPEvent(2))
			if n%2 == 0 {
				s.table.Packet(s.now, &c, DirIn, TCPEvent(4))
			}
		}
		s.now = s.now.Add(4 * time.Second)
		return func() {
			for range 3 {
				drainTicks(s.table, s.now, 1)
			}
		}
	},
	"tick over many": func(s *scene) func() {
		for n := range 5 {
			s.add(n+2, Ref{})
			s.insertMaybe(workerSpec(1, n+20, s.servers[0]))
		}
		c := s.add(1, Ref{})
		s.table.Packet(s.now, &c, DirIn, TCPEvent(16)) // its timer begins anew
		s.now = s.now.Add(newTimeout)
		return func() { drainTicks(s.table, s.now, 100) }
	},
	"prepare": func(s *scene) func() {
		s.fill(4*perLine - 1)
		return func() { s.table.Prepare(ignore) }
	},
	"grow into a chunk made ahead": func(s *scene) func() {
		s.held = append(s.held, s.take(chunkSize-2)...)
		s.table.Prepare(ignore)
		return func() {
			for n := range 3 {
				s.insertMaybe(tcpSpec(n+1, s.servers[0]))
			}
		}
	},
	"tick over a record that is too late": func(s *scene) func() {
		c := s.add(1, Ref{})
		s.table.Packet(s.now, &c, DirIn, TCPEvent(16))
		s.pass(5 * time.Second)
		s.table.Packet(s.now, &c, DirIn, TCPEvent(4))
		s.now = s.now.Add(140 * time.Second)
		return func() { drainTicks(s.table, s.now, 100) }
	},
	"an engine's template": func(s *scene) func() {
		s.insertMaybe(callSpec(1, "call", s.servers[0]))
		return func() {
			var c Conn
			s.table.FindTemplate(s.now, callSpec(1, "call", s.servers[0]), &c)
			s.table.Expire(s.now, c.Ref)
			s.table.Insert(s.now, callSpec(1, "other", s.servers[0]), &c)
		}
	},
	"the first side record": func(s *scene) func() {
		return func() { s.insertMaybe(callSpec(1, "call", s.servers[0])) }
	},
	"helper": func(s *scene) func() {
		var c, d Conn
		spec := masqueraded(ftpSpec(1, s.servers[0]))
		s.table.Insert(s.now, spec, &c)
		return func() {
			c.AppMode = 1
			s.table.StoreApp(&c)
			s.table.LookupIn(s.now, ipvs.TCP, spec.Client, spec.Virtual, &d)
			expected := masqueraded(expectedSpec(1, 5001, s.servers[0], c.Ref))
			s.table.Expect(s.now, expected, &d)
			s.table.Expect(s.now, expected, &d)
			s.table.FillPort(s.now, &d, 4000)
		}
	},
	"another director's word": func(s *scene) func() {
		c := s.add(1, Ref{})
		return func() {
			s.table.Advertise(c.Ref, 0, NewAdvert(1, 0, s.now))
			s.table.Update(s.now, c.Ref, &Update{State: TCPEstablished, Timeout: 900 * time.Second})
		}
	},
	"tick far": func(s *scene) func() {
		s.template(1, 300*time.Second)
		s.add(1, Ref{})
		s.now = s.now.Add(400 * time.Second)
		return func() { drainTicks(s.table, s.now, 3) }
	},
}

// fill inserts n connections that are nobody else's.
func (s *scene) fill(n int) {
	for range n {
		s.add(s.next, Ref{})
		s.next++
	}
}

// crowd inserts n connections of one client and port, which share a bucket.
func (s *scene) crowd(client, n int) (all []Conn) {
	for i := range n {
		var c Conn
		s.table.Insert(s.now, crowdSpec(client, i, s.servers[0]), &c)
		all = append(all, c)
	}
	return all
}
