package host

import (
	"errors"
	"fmt"

	"usvs/link"
	"usvs/wire"
)

// ErrNoHandoff is returned where packets cannot be given to the host's stack.
var ErrNoHandoff = errors.New("the host's own stack cannot be given packets")

// packetWriter is the part of a device that a hand-off needs.
type packetWriter interface {
	NewWriter() link.Writer
	Close() error
}

// Handoff gives frames to the host's own IP stack as if an interface had
// received them. Answers leave by the host's routes.
type Handoff struct {
	dev    packetWriter
	name   string
	medium wire.Medium // what dev takes
	mac    wire.MAC    // Ethernet: of the interface that receives
	undo   func()      // removes what was made for dev; nil: that goes away with it
}

// OpenHandoff makes a way into the host's stack: a private veth pair, or a TUN
// device where there is no veth. It goes away with Close; what a killed process
// left behind, the next call removes.
func OpenHandoff() (*Handoff, error) {
	h, err := openVethHandoff()
	if err == nil {
		return h, nil
	}
	h, err2 := openTunHandoff()
	if err2 == nil {
		return h, nil
	}
	return nil, fmt.Errorf("%w: %w", ErrNoHandoff, errors.Join(err, err2))
}

// Close takes the way in down.
func (h *Handoff) Close() error {
	err := h.dev.Close()
	if h.undo != nil {
		h.undo()
	}
	return err
}

// NewWriter returns a writer for one goroutine. It changes the frames' link
// headers. Frames with a VLAN tag keep it, and so go nowhere.
func (h *Handoff) NewWriter() link.Writer {
	w := h.dev.NewWriter()
	if h.medium == wire.IP {
		return &bareWriter{Writer: w}
	}
	return &addressedWriter{Writer: w, mac: h.mac}
}

// addressedWriter addresses frames to the interface that is to receive them.
type addressedWriter struct {
	link.Writer
	mac wire.MAC
}

// WriteBatch implements link.Writer.
func (w *addressedWriter) WriteBatch(fs []*link.Frame) (int, error) {
	for _, f := range fs {
		if f.Medium == wire.IP {
			prependEthernet(f)
		}
		if f.Len() >= wire.EthernetLen {
			wire.EthernetHeader(f.Bytes()).SetDst(w.mac)
		}
	}
	return w.Writer.WriteBatch(fs)
}

// prependEthernet puts a link header in front of a bare IP packet.
func prependEthernet(f *link.Frame) {
	etherType := uint16(wire.TypeIPv4)
	if b := f.Bytes(); len(b) > 0 && b[0]>>4 == 6 {
		etherType = wire.TypeIPv6
	}
	f.Prepend(wire.EthernetLen)
	f.Medium = wire.Ethernet
	h := wire.EthernetHeader(f.Bytes())
	h.SetSrc(wire.MAC{2})
	h.SetType(etherType)
}

// bareWriter hands the IP packets of frames to a device without link headers.
type bareWriter struct {
	link.Writer
	keep []*link.Frame
}

// WriteBatch implements link.Writer.
func (w *bareWriter) WriteBatch(fs []*link.Frame) (int, error) {
	w.keep = w.keep[:0]
	for _, f := range fs {
		if f.Medium == wire.IP || stripEthernet(f) {
			w.keep = append(w.keep, f)
		}
	}
	return w.Writer.WriteBatch(w.keep)
}

// stripEthernet takes off the link header of a frame that carries IP, untagged.
func stripEthernet(f *link.Frame) bool {
	if f.Len() < wire.EthernetLen {
		return false
	}
	t := wire.EthernetHeader(f.Bytes()).Type()
	if t != wire.TypeIPv4 && t != wire.TypeIPv6 {
		return false
	}
	f.TrimFront(wire.EthernetLen)
	f.Medium = wire.IP
	return true
}
