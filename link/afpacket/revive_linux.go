package afpacket

import (
	"golang.org/x/sys/unix"

	"usvs/wire"
)

// linkDown takes note that the socket said ENETDOWN, which it says once.
func (d *Device) linkDown() {
	if d.down {
		return
	}
	d.down = true
	d.log.Warn("interface is down", "interface", d.name)
}

// look finds out whether the link is back. The socket may have lost its
// interface meanwhile: then it needs one of the same name.
func (d *Device) look() {
	b, err := boundTo(d.rx)
	if err != nil {
		d.complain(err)
		return
	}
	if b.index <= 0 && !d.rebind() {
		return
	}
	if up, err := interfaceUp(d.rx, d.Index()); err != nil || !up {
		return
	}
	d.down = false
	d.hungry = true
	d.log.Info("interface is up", "interface", d.name)
}

// rebind binds the socket to the interface that now has the device's name.
func (d *Device) rebind() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	index, err := interfaceIndex(d.rx, d.name)
	if err == nil {
		err = d.bind(index)
	}
	if err != nil {
		if !d.gone {
			d.gone = true
			d.index.Store(0)
			d.log.Warn("interface is gone", "interface", d.name, "err", err)
		}
		return false
	}
	d.gone = false
	d.index.Store(int32(index))
	d.rejoinLocked(index)
	d.log.Info("interface is back", "interface", d.name, "index", index)
	return true
}

// bind binds the sockets to an interface.
func (d *Device) bind(index int) error {
	if err := bindTo(d.tx, index, nothing); err != nil {
		return err
	}
	if d.wrap != nil {
		if err := d.wrap.bind(index); err != nil {
			return err
		}
	}
	if d.urgent.fd >= 0 {
		if err := bindTo(d.urgent.fd, index, everything); err != nil {
			return err
		}
	}
	if d.group != nil {
		return d.group.renew(d, index)
	}
	return bindTo(d.rx, index, everything)
}

// rejoinLocked joins again what the socket had joined on the old interface.
func (d *Device) rejoinLocked(index int) {
	if d.all {
		if err := setMembership(d.rx, unix.PACKET_ADD_MEMBERSHIP, unix.PACKET_MR_PROMISC, index, wire.MAC{}); err != nil {
			d.log.Warn("cannot set promiscuous mode", "interface", d.name, "err", err)
		}
	}
	for _, group := range d.groups {
		if err := setMembership(d.rx, unix.PACKET_ADD_MEMBERSHIP, membershipKind(group), index, group); err != nil {
			d.log.Warn("cannot join group", "interface", d.name, "group", group, "err", err)
		}
	}
}
