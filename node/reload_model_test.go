package node

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/keepalived"
)

// site is a configuration that changes at random.
type site struct {
	*rand.Rand
	globals  []string
	services []string
	order    []int
	shift    int // empty lines at the start
	last     bool
}

func newSite(seed uint64) *site {
	s := &site{Rand: rand.New(rand.NewPCG(seed, 9))}
	for i := range 6 {
		s.order = append(s.order, i)
		s.services = append(s.services, s.service(i))
	}
	return s
}

func (s *site) pick(list ...string) string { return list[s.IntN(len(list))] }

func (s *site) service(i int) string {
	check := s.pick("TCP_CHECK {\n}\n", "PING_CHECK {\n}\n", "PING_CHECK {\ncheck_path vip\n}\n", "HTTP_GET {\nurl {\npath /\n}\nurl {\npath /x\n}\n}\n",
		"MISC_CHECK {\nmisc_path /bin/true\n}\n", "FILE_CHECK {\ntrack_file f\n}\n", "SSL_GET {\nurl {\npath /\n}\n}\n", "")
	extra := s.pick("", "", "alpha\nomega\nquorum 2\n", "sorry_server 192.168.1.99 80\n", "ha_suspend\n", "check_path vip\n", "delay_loop 2\n", "quorum_up /bin/up\nquorum_down /bin/down\n")
	head := fmt.Sprintf("virtual_server 192.168.1.%d 80", 100+i)
	if s.IntN(8) == 0 {
		head = "virtual_server group G"
	}
	text := fmt.Sprintf("%s {\nlb_algo rr\nlb_kind %s\nprotocol TCP\n%s", head, s.pick("DR", "NAT"), extra)
	for j := range 1 + s.IntN(3) {
		text += fmt.Sprintf("real_server 192.168.1.%d 80 {\nweight %d\n%s%s}\n", 11+j, 1+s.IntN(3), s.pick("", "inhibit_on_failure\n", "notify_down /bin/d\n"), check)
	}
	return text + s.pick("", "", "check_path vip\n") + "}\n"
}

// change changes something.
func (s *site) change() {
	i := s.IntN(len(s.services))
	switch s.IntN(7) {
	case 0:
		s.services[i] = s.service(i)
	case 1:
		s.services[i] = ""
	case 2:
		s.Shuffle(len(s.order), func(i, j int) { s.order[i], s.order[j] = s.order[j], s.order[i] })
	case 3:
		s.shift = s.IntN(40)
	case 4:
		s.globals = append(s.globals[:0:0], s.pick("", "smtp_alert off\n"), s.pick("", "check_path vip\n"), s.pick("", "checker_log_all_failures\n"), s.pick("", "no_checker_emails\n"))
	case 5:
		s.last = !s.last
	case 6:
		s.services[i] = strings.Replace(s.services[i], "virtual_server 192.168.1.", "virtual_server 192.168.1.1", s.IntN(2)) // three digits too many
	}
}

func (s *site) String() string {
	var b strings.Builder
	globals := "global_defs {\n" + strings.Join(s.globals, "") + "}\n" + s.pick("", "", "SSL {\npassword x\n}\n") + "virtual_server_group G {\n192.168.1.120 80\n192.168.1.121 80\n}\n"
	b.WriteString("vrrp_track_file f {\nfile /f\n}\n" + strings.Repeat("\n", s.shift))
	if !s.last {
		b.WriteString(globals)
	}
	for _, i := range s.order {
		b.WriteString(s.services[i])
	}
	if s.last {
		b.WriteString(globals)
	}
	return b.String()
}

// TestReloadOfWhatChangedIsReload: a node that takes over what has not changed does
// as one that reads and translates everything, with checks under way and after
// reloads that were refused.
func TestReloadOfWhatChangedIsReload(t *testing.T) {
	refused, kept := 0, 0
	for seed := range uint64(60) {
		s := newSite(seed)
		text := s.String()
		f := newFile(text)
		whole := keepalived.Options{Files: f, Extensions: true}
		labs := [2]*lab{newLab(t), newLab(t)}
		var nodes [2]*machine
		for i, l := range labs {
			nodes[i] = l.add("a", "192.168.1.1/24", "")
			nodes[i].boot()
		}
		for step := range 12 {
			conf, _ := f.Reader.Read()
			fresh, _ := keepalived.Parse("test.conf", whole)
			errs := [2]error{nodes[0].node.Reload(labs[0].now, conf), nodes[1].node.Reload(labs[1].now, fresh)}
			require.Equal(t, errs[1], errs[0], "seed %d step %d", seed, step)
			if errs[0] != nil {
				refused++
			}
			for _, vs := range conf.VirtualServers {
				if nodes[0].node.plan.known[vs.Origin] != nil {
					kept++
				}
			}
			up, server := s.IntN(2) == 0, fmt.Sprintf("192.168.1.%d:80", 11+s.IntN(4))
			wait := time.Duration(s.IntN(4000)) * time.Millisecond
			for i, l := range labs {
				nodes[i].wake()
				l.serve(up, server)
				l.run(wait)
			}
			require.Equal(t, nodes[1].takeLog(), nodes[0].takeLog(), "seed %d step %d\n%s", seed, step, f.text)
			require.Equal(t, nodes[1].takeNotified(), nodes[0].takeNotified(), "seed %d step %d", seed, step)
			require.Equal(t, nodes[1].table(), nodes[0].table(), "seed %d step %d", seed, step)
			require.Equal(t, nodes[1].node.Status(labs[1].now), nodes[0].node.Status(labs[0].now), "seed %d step %d", seed, step)
			require.Equal(t, nodes[1].probes, nodes[0].probes)
			s.change()
			if s.IntN(3) > 0 {
				f.text = s.String()
			}
		}
	}
	t.Logf("%d reloads were refused, %d virtual servers taken over", refused, kept)
	require.Greater(t, refused, 10)
	require.Greater(t, kept, 300)
}
