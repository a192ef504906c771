package netsim_test

import (
	"fmt"
	"net/netip"
	"time"

	"usvs/netsim"
)

// A client, a director and two real servers at one switch; direct routing of
// UDP, over links that lose nothing.
func Example() {
	n := netsim.New(1)
	sw, lan := n.Switch("sw"), netsim.LinkOptions{Delay: 50 * time.Microsecond}
	client, lvs := n.Host("client"), n.Director("lvs")
	n.Link(client.NIC("eth0", "10.10.100.9/24"), sw.NextPort(), lan)
	n.Link(lvs.NIC("eth0", "10.10.100.1/24"), sw.NextPort(), lan)
	lvs.MustExec("ipvsadm -A -u 10.10.100.107:53 -s rr")
	for _, addr := range []string{"10.10.100.2", "10.10.100.3"} {
		rs := n.Host("rs" + addr[10:])
		n.Link(rs.NIC("eth0", addr+"/24"), sw.NextPort(), lan)
		rs.MustExec("usvs realserver up --vip 10.10.100.107")
		socket, _ := rs.UDP(netip.MustParseAddrPort("0.0.0.0:53"))
		socket.OnReceive = func(d netsim.Datagram) { _ = socket.SendFrom(d.To.Addr(), d.From, []byte(rs.Name())) }
		lvs.MustExec("ipvsadm -a -u 10.10.100.107:53 -r " + addr + " -g")
	}
	for range 2 {
		socket, _ := client.UDP(netip.AddrPort{})
		socket.OnReceive = func(d netsim.Datagram) {
			fmt.Printf("%v: %s answers as %v\n", n.Elapsed(), d.Payload, d.From)
		}
		_ = socket.Send(netip.MustParseAddrPort("10.10.100.107:53"), []byte("who are you?"))
	}
	n.Run(5 * time.Second)
	fmt.Print(lvs.MustExec("ipvsadm -Sn"))
	// Output:
	// 800µs: rs3 answers as 10.10.100.107:53
	// 800µs: rs2 answers as 10.10.100.107:53
	// -A -u 10.10.100.107:53 -s rr
	// -a -u 10.10.100.107:53 -r 10.10.100.2:53 -g -w 1
	// -a -u 10.10.100.107:53 -r 10.10.100.3:53 -g -w 1
}

// What a director did with a frame, and why, as a line of text; the same is a
// comment of the frame in a pcapng file.
func ExampleRecorder() {
	n := netsim.New(1)
	client, lvs := n.Host("client"), n.Director("lvs")
	lan := n.Link(client.NIC("eth0", "192.0.2.9/24"), lvs.NIC("eth0", "192.0.2.1/24"))
	lvs.MustExec("ipvsadm -A -u 192.0.2.100:53 -s rr")
	rec := n.Record()
	socket, _ := client.UDP(netip.AddrPort{})
	_ = socket.Send(netip.MustParseAddrPort("192.0.2.100:53"), []byte("anybody?"))
	n.Run(time.Second)
	for _, r := range rec.On(lan)[:4] {
		fmt.Println(r)
	}
	// Output:
	//    0.000000000 client:eth0 > lvs:eth0 ARP who has 192.0.2.100? tell 192.0.2.9
	//    0.000000000 lvs:eth0 > client:eth0 ARP announcement: 192.0.2.100 is at 02:00:00:00:02:00
	//    0.000000000 lvs:eth0 > client:eth0 ARP 192.0.2.100 is at 02:00:00:00:02:00
	//    0.000000000 client:eth0 > lvs:eth0 192.0.2.9.32768 > 192.0.2.100.53: UDP, length 16 # lvs: drop no server, service UDP 192.0.2.100:53; round robin: the first usable server behind the one chosen last; the round starts at the head of the list
}
