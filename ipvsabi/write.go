package ipvsabi

// writer appends messages and attributes to a datagram.
type writer []byte

// begin starts a message and returns its offset, for end.
func (w *writer) begin(h header) int {
	at := len(*w)
	b := append(*w, 0, 0, 0, 0) // the length; see end
	b = native.AppendUint16(b, h.typ)
	b = native.AppendUint16(b, h.flags)
	b = native.AppendUint32(b, h.seq)
	*w = native.AppendUint32(b, h.port)
	return at
}

// end completes the message that begins at an offset. It is padded, but its
// length does not say so.
func (w *writer) end(at int) {
	native.PutUint32((*w)[at:], uint32(len(*w)-at))
	w.pad()
}

// generic starts a message of generic netlink.
func (w *writer) generic(h header, cmd, version uint8) int {
	at := w.begin(h)
	*w = append(*w, cmd, version, 0, 0)
	return at
}

// message writes a whole message of IPVS.
func (w *writer) message(h header, cmd uint8, body func(*writer)) {
	at := w.generic(h, cmd, familyVersion)
	body(w)
	w.end(at)
}

func (w *writer) pad() {
	for len(*w)%4 != 0 {
		*w = append(*w, 0)
	}
}

// nest starts an attribute that holds others, for endNest.
func (w *writer) nest(typ int) int {
	at := len(*w)
	w.attr(typ, 0)
	return at
}

func (w *writer) endNest(at int) { native.PutUint16((*w)[at:], uint16(len(*w)-at)) }

// attr writes the header of an attribute of size bytes.
func (w *writer) attr(typ, size int) {
	b := native.AppendUint16(*w, uint16(attrHeaderLen+size))
	*w = native.AppendUint16(b, uint16(typ))
}

func (w *writer) bytes(typ int, v []byte) {
	w.attr(typ, len(v))
	*w = append(*w, v...)
	w.pad()
}

func (w *writer) text(typ int, s string) {
	w.attr(typ, len(s)+1)
	*w = append(append(*w, s...), 0)
	w.pad()
}

func (w *writer) u8(typ int, v uint8) {
	w.attr(typ, 1)
	*w = append(*w, v)
	w.pad()
}

func (w *writer) u16(typ int, v uint16) {
	w.attr(typ, 2)
	*w = native.AppendUint16(*w, v)
	w.pad()
}

func (w *writer) be16(typ int, v uint16) {
	w.attr(typ, 2)
	*w = be.AppendUint16(*w, v)
	w.pad()
}

func (w *writer) u32(typ int, v uint32) {
	w.attr(typ, 4)
	*w = native.AppendUint32(*w, v)
}

// u64 writes a number at an address that is a multiple of 8, if the datagram's
// is: the kernel pads where the machine might mind.
func (w *writer) u64(typ, padding int, v uint64) {
	if len(*w)%8 == 0 {
		w.attr(padding, 0)
	}
	w.attr(typ, 8)
	*w = native.AppendUint64(*w, v)
}
