package ipvsabi

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/control"
	"usvs/ipvs"
)

func newControl() *control.Control {
	return control.New(control.Config{Clock: clock.NewSystem(), Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry)})
}

func TestResolve(t *testing.T) {
	s := NewServer(newControl())
	var w writer
	at := w.generic(header{typeControl, flagRequest | flagAck, 7, 0}, ctrlGetFamily, 1)
	w.text(ctrlFamilyName, "IPVS")
	w.end(at)
	replies, handled := s.Netlink(w, 42, false)
	require.True(t, handled)
	require.Len(t, replies, 2)
}
