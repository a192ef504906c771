package ipvsabi

// datagramMax is the size of the datagrams of a dump: what the kernel puts into
// one page. libnl and others read with a buffer of a page.
const datagramMax = 3776

// entryMax is more than an entry of a list takes.
const entryMax = 640

// reply collects the datagrams that answer a datagram.
type reply struct {
	to        header // sequence number and port of the answers to the present message
	datagrams [][]byte
	// unread is the rest of a list. The kernel goes on with a list when its
	// reader has read, so this comes after the answers to all messages.
	unread [][]byte
}

// send adds a datagram.
func (r *reply) send(w writer) { r.datagrams = append(r.datagrams, w) }

// single answers with one message of IPVS.
func (r *reply) single(cmd uint8, body func(*writer)) {
	w := make(writer, 0, 512)
	w.message(header{FamilyID, 0, r.to.seq, r.to.port}, cmd, body)
	r.send(w)
}

// acknowledge says that m succeeded.
func (r *reply) acknowledge(m *message) {
	var w writer
	at := w.begin(header{typeError, flagCapped, r.to.seq, r.to.port})
	w = native.AppendUint32(w, 0)
	w = append(w, m.bytes[:headerLen]...)
	w.end(at)
	r.send(w)
}

// fail says why m failed, and repeats all of it, padded.
func (r *reply) fail(m *message, errno Errno) {
	var w writer
	at := w.begin(header{typeError, 0, r.to.seq, r.to.port})
	w = native.AppendUint32(w, uint32(-int32(errno)))
	w = append(w, m.bytes...)
	w.pad()
	w.end(at)
	r.send(w)
}

// list answers with a list.
func (r *reply) list(l *list) {
	all := append(l.end(), l.done())
	r.send(all[0])
	if len(all) > 1 {
		r.unread = all[1:]
	}
}

// list is a dump in the making: as many messages to a datagram as there is room
// for.
type list struct {
	to        header
	datagrams [][]byte
	part      writer // the datagram being filled
}

// entry adds a message. One that does not fit into the datagram any more begins
// the next.
func (l *list) entry(cmd uint8, body func(*writer)) {
	if l.part == nil {
		l.part = make(writer, 0, datagramMax+entryMax)
	}
	at := len(l.part)
	l.write(cmd, body)
	if at == 0 || len(l.part) <= datagramMax {
		return
	}
	l.datagrams = append(l.datagrams, l.part[:at:at])
	l.part = make(writer, 0, datagramMax+entryMax)
	l.write(cmd, body)
}

func (l *list) write(cmd uint8, body func(*writer)) {
	l.part.message(header{FamilyID, flagMulti, l.to.seq, l.to.port}, cmd, body)
}

// end returns the datagrams with entries.
func (l *list) end() [][]byte {
	if l.part == nil {
		return nil
	}
	return append(l.datagrams, l.part)
}

// done is the datagram behind them.
func (l *list) done() writer {
	var w writer
	at := w.begin(header{typeDone, flagMulti, l.to.seq, l.to.port})
	w = native.AppendUint32(w, 0)
	w.end(at)
	return w
}
