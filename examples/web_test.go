package examples

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
	"usvs/netsim"
	"usvs/netsim/netconn"
)

// A service behind a director (direct routing, round robin), on links that lose 5 % of the frames.
func TestServiceBehindDirector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time is virtual: this takes milliseconds
		sim := netsim.New(42) // one seed, one run: the same frames are lost each time
		link, sw := netsim.LinkOptions{Delay: time.Millisecond, Loss: 0.05}, sim.Switch("sw")
		client, lvs, servers := sim.Host("client"), sim.Director("lvs"), []*netsim.Host{sim.Host("rs1"), sim.Host("rs2")}
		sim.Link(client.NIC("eth0", "10.0.0.9/24"), sw.NextPort(), link)
		sim.Link(lvs.NIC("eth0", "10.0.0.1/24"), sw.NextPort(), link)
		lvs.MustExec("ipvsadm -A -t 10.0.0.100:80 -s rr")
		for i, rip := range []string{"10.0.0.11", "10.0.0.12"} {
			sim.Link(servers[i].NIC("eth0", rip+"/24"), sw.NextPort(), link)
			servers[i].MustExec("usvs realserver up --vip 10.0.0.100")
			lvs.MustExec("ipvsadm -a -t 10.0.0.100:80 -g -r " + rip)
		}
		net := netconn.New(t, sim) // from here on the network runs
		for _, rs := range servers {
			go http.Serve(net.MustListen(rs, ":80"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, rs.Name()) }))
		}
		web := http.Client{Transport: &http.Transport{DialContext: net.Host(client).DialContext, DisableKeepAlives: true}}
		for _, want := range []string{"rs2", "rs1", "rs2", "rs1", "rs2"} {
			if answer, err := web.Get("http://10.0.0.100/"); err != nil {
				t.Error(err)
			} else if name, _ := io.ReadAll(answer.Body); string(name) != want {
				t.Errorf("%s answered, not %s", name, want)
			}
		}
	})
}
