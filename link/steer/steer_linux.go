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

// Steering is the program and its tables, which any number of interfaces share.
type Steering struct {
	owned  *ebpf.Map
	shares *ebpf.Map // by bucket, whose it is; at activeAt how many queues there are
	seen   *ebpf.Map // how many frames there were, by the CPU that received them
	active int
	prog   *ebpf.Program
}

// New loads the program, for so many queues. It needs CAP_BPF outside of any user
// namespace.
func New(active int) (*Steering, error) {
	owned, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "usvs_owned", Type: ebpf.Hash, KeySize: 16, ValueSize: 1, MaxEntries: maxOwned, Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return nil, fmt.Errorf("steer: table of addresses: %w", err)
	}
	shares, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "usvs_shares", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: activeAt + 1,
	})
	if err != nil {
		owned.Close()
		return nil, fmt.Errorf("steer: table of shares: %w", err)
	}
	seen, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "usvs_seen", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1,
	})
	if err != nil {
		shares.Close()
		owned.Close()
		return nil, fmt.Errorf("steer: counters: %w", err)
	}
	s := &Steering{owned: owned, shares: shares, seen: seen, active: 1}
	if err = s.Deal(active); err == nil {
		s.prog, err = program(owned, shares, seen)
	}
	if err != nil {
		seen.Close()
		shares.Close()
		owned.Close()
		return nil, fmt.Errorf("steer: program: %w", err)
	}
	return s, nil
}

// Deal shares the clients out among the first so many queues. With one more than
// before clients move to that one only, with one less from the last one only.
// It is not for several goroutines at once.
func (s *Steering) Deal(active int) error {
	old, wanted := shares(s.active), shares(active)
	for b, owner := range wanted {
		if owner == old[b] {
			continue
		}
		if err := s.shares.Put(uint32(b), owner); err != nil {
			return fmt.Errorf("steer: table of shares: %w", err)
		}
	}
	if err := s.shares.Put(uint32(activeAt), uint32(active)); err != nil {
		return fmt.Errorf("steer: number of queues: %w", err)
	}
	s.active = active
	return nil
}

// Received is how many frames the program has seen, by the CPU on which the
// kernel received them.
func (s *Steering) Received() (byCPU []uint64, err error) {
	if err := s.seen.Lookup(uint32(0), &byCPU); err != nil {
		return nil, fmt.Errorf("steer: counters: %w", err)
	}
	return byCPU, nil
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
func (s *Steering) Close() error {
	return errors.Join(s.prog.Close(), s.seen.Close(), s.shares.Close(), s.owned.Close())
}
