package ipvsabi

// datagramMax is the size of the datagrams of a dump: what the kernel puts into
// one page. libnl and others read with a buffer of a page.
const datagramMax = 3776

// reply collects the datagrams that answer a message.
type reply struct {
	to        header // sequence number and port of every answer
	datagrams [][]byte
	part      writer // of a dump, being filled
	dumped    bool
}

// send adds a datagram.
func (r *reply) send(w writer) { r.datagrams = append(r.datagrams, w) }

// single answers with one message of IPVS.
func (r *reply) single(cmd uint8, body func(*writer)) {
	w := make(writer, 0, 512)
	at := w.generic(header{FamilyID, 0, r.to.seq, r.to.port}, cmd, familyVersion)
	body(&w)
	w.end(at)
	r.send(w)
}

// entry adds a message to a dump. One that does not fit into the datagram any
// more begins the next.
func (r *reply) entry(cmd uint8, body func(*writer)) {
	if r.part == nil {
		r.part = make(writer, 0, datagramMax)
	}
	at := r.write(cmd, body)
	if len(r.part) <= datagramMax || at == 0 {
		return
	}
	r.send(r.part[:at:at])
	r.part = make(writer, 0, datagramMax)
	r.write(cmd, body)
}

func (r *reply) write(cmd uint8, body func(*writer)) (at int) {
	at = r.part.generic(header{FamilyID, flagMulti, r.to.seq, r.to.port}, cmd, familyVersion)
	body(&r.part)
	r.part.end(at)
	return at
}

// done ends a dump.
func (r *reply) done() {
	if len(r.part) > 0 {
		r.send(r.part)
	}
	var w writer
	at := w.begin(header{typeDone, flagMulti, r.to.seq, r.to.port})
	w = native.AppendUint32(w, 0)
	w.end(at)
	r.send(w)
	r.part, r.dumped = nil, true
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
	r.datagrams = [][]byte{w}
}
