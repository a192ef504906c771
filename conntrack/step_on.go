//go:build parkpoints

package conntrack

import "sync/atomic"

// stepHook is called with the name of every step.
var stepHook atomic.Pointer[func(string)]

func step(name string) {
	if h := stepHook.Load(); h != nil {
		(*h)(name)
	}
}

// rackBits is so small that a table of few entries gets another rack.
const rackBits = 2
