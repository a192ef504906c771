//go:build !amd64 || race

package conntrack

import "sync/atomic"

// set64 stores v in a word that nobody goes by before an atomic change that the
// caller makes later. The race detector is not to know better, and other
// processors do not make an atomic store wait.
func set64(w *atomic.Uint64, v uint64) { w.Store(v) }

// set32 is set64 for a link.
func set32(w *atomic.Uint32, v uint32) { w.Store(v) }
