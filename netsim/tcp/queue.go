package tcp

// queue is a byte queue: appended at one end, taken off at the other.
type queue struct {
	buf []byte
	off int
}

// Len is how many bytes the queue holds.
func (q *queue) Len() int { return len(q.buf) - q.off }

// Bytes are the queue's bytes, valid until the next change.
func (q *queue) Bytes() []byte { return q.buf[q.off:] }

// Append puts a copy of p at the end. Space freed at the front is used before
// the buffer grows.
func (q *queue) Append(p []byte) {
	if q.off > 0 && len(q.buf)+len(p) > cap(q.buf) {
		q.buf = q.buf[:copy(q.buf, q.buf[q.off:])]
		q.off = 0
	}
	q.buf = append(q.buf, p...)
}

// Discard takes n bytes off the front.
func (q *queue) Discard(n int) {
	q.off += n
	if q.off == len(q.buf) {
		q.buf, q.off = q.buf[:0], 0
	}
}

// Release gives the storage back.
func (q *queue) Release() { *q = queue{} }

// piece is data that arrived ahead of what is missing.
type piece struct {
	seq  uint32
	data []byte
}

func (p *piece) end() uint32 { return p.seq + uint32(len(p.data)) }

// maxPieces bounds a reassembly together with its byte limit.
const maxPieces = 256

// reassembly holds data that came out of order: pieces ascending by sequence
// number, which may overlap.
type reassembly struct {
	pieces []piece
	bytes  int
}

// insert keeps a copy of data unless it would hold more than limit bytes or
// maxPieces pieces. What is dropped will come again.
func (r *reassembly) insert(seq uint32, data []byte, limit int) {
	at := len(r.pieces)
	for at > 0 && seqLT(seq, r.pieces[at-1].seq) {
		at--
	}
	if at > 0 && seqLEQ(seq+uint32(len(data)), r.pieces[at-1].end()) {
		return // nothing new in it
	}
	if len(r.pieces) >= maxPieces || r.bytes+len(data) > limit {
		return
	}
	r.pieces = append(r.pieces, piece{})
	copy(r.pieces[at+1:], r.pieces[at:])
	r.pieces[at] = piece{seq, append([]byte(nil), data...)}
	r.bytes += len(data)
}

// next returns the bytes that continue at seq, if the first piece has them,
// and drops what lies before. The bytes are valid until the next change.
func (r *reassembly) next(seq uint32) []byte {
	for len(r.pieces) > 0 && seqLEQ(r.pieces[0].seq, seq) {
		p := r.pieces[0]
		r.pieces = r.pieces[1:]
		r.bytes -= len(p.data)
		if seqLT(seq, p.end()) {
			return p.data[seq-p.seq:]
		}
	}
	if len(r.pieces) == 0 {
		r.pieces = nil
	}
	return nil
}

// Release forgets everything.
func (r *reassembly) Release() { *r = reassembly{} }
