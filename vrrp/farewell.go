package vrrp

import (
	"bytes"
	"fmt"
	"slices"
)

// prepareFarewell leaves the advert with priority 0 with who sends it if we are
// gone without having stopped. Before each advert, because with an authentication
// header it has to be the one after that.
func (i *instance) prepareFarewell() {
	a := i.advert(0)
	if a.id = 0; a.auth == AH { // the kernel fills the identification in, ip(7)
		a.id, a.seq = i.id, i.seq+1
	}
	var packets []Packet
	i.eachReceiver(&a, func(a *advert) {
		packets = append(packets, Packet{Interface: i.Interface, IP: a.packet(i.key())})
	})
	i.leaveFarewell(packets)
}

// leaveFarewell does so if something is new about it.
func (i *instance) leaveFarewell(packets []Packet) {
	same := func(a, b Packet) bool { return a.Interface == b.Interface && bytes.Equal(a.IP, b.IP) }
	if !slices.EqualFunc(packets, i.farewell, same) {
		i.farewell = packets
		i.r.fx.Farewell(fmt.Sprint(i.identity()), packets)
	}
}
