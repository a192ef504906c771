//go:build amd64 && !race

package conntrack

import (
	"sync/atomic"
	"unsafe"
)

// set64 stores v in a word that nobody goes by before an atomic change that the
// caller makes later: of an entry that is in no index, or a record that is in no
// slot. Others may look at the word all the same, and see either value.
//
// An atomic store has a processor of this kind wait until all it wrote is seen by
// the others, seven times for a new entry. What set64 writes is seen in order, and
// at the latest with the atomic change.
func set64(w *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }

// set32 is set64 for a link, before its item is put on a stack.
func set32(w *atomic.Uint32, v uint32) { *(*uint32)(unsafe.Pointer(w)) = v }
