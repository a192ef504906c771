package director

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"usvs/route"
	"usvs/wire"
)

// announced counts the gratuitous ARP requests and unsolicited advertisements
// that are sent, by source MAC.
func (b *testbed) announced() map[wire.MAC]int {
	count := map[wire.MAC]int{}
	for range 10 {
		b.now = b.now.Add(time.Second)
		b.out.Reset()
		b.w.Tick(b.now, &b.out)
		for _, f := range b.out.Tx {
			if eth := wire.EthernetHeader(f.Bytes()); eth.Type() == wire.TypeARP && eth.Dst() == wire.Broadcast {
				count[eth.Src()]++
			}
		}
	}
	return count
}

func TestAnnouncements(t *testing.T) {
	const perAddress = 2
	b := newTestbed(t)
	assert.Equal(t, map[wire.MAC]int{dirMAC0: perAddress, dirMAC1: perAddress}, b.announced(), "a new address")
	b.network(func(c *route.Config) { c.Interfaces[0].MTU = 9000 })
	assert.Empty(t, b.announced(), "nothing changed for the neighbours")

	moved := wire.MAC{2, 0, 0, 0, 0, 9}
	b.network(func(c *route.Config) { c.Interfaces[0].MAC = moved })
	assert.Equal(t, map[wire.MAC]int{moved: perAddress}, b.announced(), "another MAC")
	b.network(func(c *route.Config) { c.Interfaces[1].Up = false })
	assert.Empty(t, b.announced())
	b.network(func(c *route.Config) { c.Interfaces[1].Up = true })
	assert.Equal(t, map[wire.MAC]int{dirMAC1: perAddress}, b.announced(), "up again")

	b.network(func(c *route.Config) { c.Locals = append(c.Locals, vip) })
	assert.Empty(t, b.announced(), "now the host answers for it")
	b.network(func(c *route.Config) { c.Locals = c.Locals[:1] })
	assert.Equal(t, map[wire.MAC]int{moved: perAddress, dirMAC1: perAddress}, b.announced(), "the director answers again")
}
