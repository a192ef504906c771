package steer

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// maxOwned is how many addresses the program knows. What is to further ones is
// taken for a server's answer: it is steered by its destination.
const maxOwned = 65536

// Steering is the program and its table, which any number of interfaces share.
type Steering struct {
	owned *ebpf.Map
	prog  *ebpf.Program
}

// New loads the program. It needs CAP_BPF outside of any user namespace.
func New() (*Steering, error) {
	owned, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "usvs_owned", Type: ebpf.Hash, KeySize: 16, ValueSize: 1, MaxEntries: maxOwned, Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return nil, fmt.Errorf("steer: table of addresses: %w", err)
	}
	prog, err := program(owned)
	if err != nil {
		owned.Close()
		return nil, fmt.Errorf("steer: program: %w", err)
	}
	return &Steering{owned, prog}, nil
}

// FD is the program's descriptor.
func (s *Steering) FD() int { return s.prog.FD() }

// Own changes what the program takes for the director's addresses. It does as
// much as it can, and the error says what is missing.
func (s *Steering) Own(add, drop []netip.Addr) error {
	var last error
	for _, a := range drop {
		if err := s.owned.Delete(a.As16()); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			last = err
		}
	}
	for _, a := range add {
		if err := s.owned.Put(a.As16(), uint8(1)); err != nil {
			last = err
		}
	}
	if last != nil {
		return fmt.Errorf("steer: table of addresses: %w", last)
	}
	return nil
}

// Close frees what New made. Interfaces that use the program keep it.
func (s *Steering) Close() error { return errors.Join(s.prog.Close(), s.owned.Close()) }
