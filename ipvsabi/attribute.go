package ipvsabi

import (
	"bytes"
	"encoding/binary"
)

const (
	attrHeaderLen = 4
	attrTypeMask  = 0x3fff // without the nested and byte order bits, which libnl sets and others do not
)

// native is the byte order of everything that is not of the network.
var native, be = binary.NativeEndian, binary.BigEndian

// attributes are the values of one level of attributes by type; nil is absent.
// Of several of one type the last counts.
type attributes [maxAttr + 1][]byte

// check is how an attribute is validated: as the kernel validates the
// attributes of families that are older than its strict rules.
type check uint8

const (
	unchecked check = iota
	atLeast         // size bytes; what follows them is ignored
	atMost          // size bytes
	text            // at most size bytes, and a NUL
	nested          // empty, or room for at least one attribute
)

type rule struct {
	check check
	size  int
}

// policy has the rules by attribute type. Types beyond it are skipped.
type policy []rule

// parse collects attributes. Bytes after the last whole one are ignored.
func (p policy) parse(b []byte) (a attributes, errno Errno) {
	for len(b) >= attrHeaderLen {
		size := int(native.Uint16(b))
		if size < attrHeaderLen || size > len(b) {
			break
		}
		typ := int(native.Uint16(b[2:])) & attrTypeMask
		if typ > 0 && typ < len(p) {
			value := b[attrHeaderLen:size:size]
			if errno := p[typ].validate(value); errno != 0 {
				return a, errno
			}
			a[typ] = value
		}
		b = b[min(align(size), len(b)):]
	}
	return a, 0
}

func (r rule) validate(v []byte) Errno {
	switch r.check {
	case atLeast:
		return when(len(v) < r.size, ERANGE)
	case atMost:
		return when(len(v) > r.size, ERANGE)
	case nested:
		return when(len(v) > 0 && len(v) < attrHeaderLen, ERANGE)
	case text:
		return r.validateText(v)
	}
	return 0
}

// validateText demands a NUL, and no more than fits.
func (r rule) validateText(v []byte) Errno {
	if nul(v) < 0 {
		return EINVAL
	}
	return when(len(bytes.TrimSuffix(v, []byte{0})) > r.size, ERANGE)
}

func when(bad bool, errno Errno) Errno {
	if bad {
		return errno
	}
	return 0
}

// nul is the index of the first NUL, or -1.
func nul(b []byte) int { return bytes.IndexByte(b, 0) }

// str is a NUL-terminated string, or one that fills its field.
func str(b []byte) string {
	if n := nul(b); n >= 0 {
		b = b[:n]
	}
	return string(b)
}

func align(n int) int { return (n + 3) &^ 3 }

// has reports whether all of types are there.
func (a *attributes) has(types ...int) bool {
	for _, t := range types {
		if a[t] == nil {
			return false
		}
	}
	return true
}

// The getters return 0 for an absent attribute. Policies see to it that those
// present are long enough.
func (a *attributes) u8(t int) uint8 {
	if a[t] == nil {
		return 0
	}
	return a[t][0]
}

func (a *attributes) u16(t int) uint16 {
	if a[t] == nil {
		return 0
	}
	return native.Uint16(a[t])
}

func (a *attributes) be16(t int) uint16 {
	if a[t] == nil {
		return 0
	}
	return be.Uint16(a[t])
}

func (a *attributes) u32(t int) uint32 {
	if a[t] == nil {
		return 0
	}
	return native.Uint32(a[t])
}
