package conntrack

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"usvs/clock"
)

// The persistence engines, by number. An engine's templates are told apart by
// data from the packets, besides addresses (ipvs.md 2.5).
var engines = [...]string{1: "sip"}

// HasEngine reports whether templates of the persistence engine called name
// can be inserted.
func HasEngine(name string) bool {
	for _, e := range engines[1:] {
		if e == name {
			return true
		}
	}
	return false
}

func engineName(n uint8) string {
	if int(n) >= len(engines) {
		return "" // a record torn by reuse; its reader will notice
	}
	return engines[n]
}

// engineNumber is 0 for none.
func engineNumber(name string) uint8 {
	for n, e := range engines {
		if e == name {
			return uint8(n)
		}
	}
	panic(fmt.Sprintf("conntrack: no persistence engine %q", name))
}

// FindTemplate finds the template that n, a template, would be, and copies it
// to c. Unlike LookupTemplate it finds those of persistence engines, too.
func (t *Table) FindTemplate(now clock.Instant, n *Spec, c *Conn) bool {
	k := t.specKey(n)
	return t.lookup(now, &k, c)
}

// specKey is the key of a new entry.
func (t *Table) specKey(n *Spec) key {
	k := t.key(n.Protocol, n.Client, n.Virtual, n.Template)
	if !n.engine() {
		return k
	}
	if len(n.PEData) > maxEngineData {
		panic(fmt.Sprintf("conntrack: %d bytes of persistence data", len(n.PEData)))
	}
	k.engine, k.data = engineNumber(n.PEName), n.PEData
	k.hash = t.seed.hashData(k.hash, n.PEData)
	return k
}

// engine reports whether n is a persistence engine's template.
func (n *Spec) engine() bool { return n.Template && n.PEName != "" }

// hashData hashes an engine's data along with the hash of the client. Without
// the client, templates of one Call-ID from many forged addresses would share a
// place.
func (k *hashKey) hashData(client uint64, data []byte) uint64 {
	h := k.word(k.mask, client)
	length := uint64(len(data) + 8)
	for len(data) >= 8 {
		h = k.word(h, binary.LittleEndian.Uint64(data))
		data = data[8:]
	}
	var last [8]byte
	copy(last[:], data)
	return k.sum(k.word(h, length<<56|binary.LittleEndian.Uint64(last[:])))
}

// sameEngine goes on where compare found an entry, the template i, equal to a
// template's key: what an engine goes by must be the same, too.
func (t *Table) sameEngine(i uint32, gen uint64, e *entry, k *key) bool {
	if !meta(e.meta.Load()).has(metaSide) || k.engine == 0 {
		return k.engine == 0 && !meta(e.meta.Load()).has(metaSide)
	}
	l := t.sides.linkOf(i)
	if !l.of(gen) {
		return false
	}
	r := t.sides.records.at(uint32(l & sideNumber))
	if r == nil {
		return false
	}
	head := r.head.Load()
	if uint8(head>>16) != k.engine {
		return false
	}
	var b [sideWords * 8]byte
	n := int(uint8(head >> 8))
	for w := 0; w*8 < n; w++ {
		binary.LittleEndian.PutUint64(b[w*8:], r.data[w].Load())
	}
	return bytes.Equal(b[:n], k.data)
}
