package arp

import (
	"sync/atomic"

	"usvs/clock"
)

// agenda is what there is to do about addresses later: a stack without a lock.
type agenda[T any] struct{ top atomic.Pointer[item[T]] }

type item[T any] struct {
	member
	due   clock.Instant
	what  T
	below *item[T] // in the stack
}

// add puts i on the agenda and says when it is due. From then on i belongs to
// whoever takes it off.
func (a *agenda[T]) add(i *item[T]) clock.Instant {
	due := i.due
	for {
		i.below = a.top.Load()
		if a.top.CompareAndSwap(i.below, i) {
			return due
		}
	}
}

// take takes everything off, the latest first.
func (a *agenda[T]) take() *item[T] { return a.top.Swap(nil) }

func (a *agenda[T]) empty() bool { return a.top.Load() == nil }

// reverse turns a stack into the order in which it was filled.
func reverse[T any](i *item[T]) *item[T] {
	var first *item[T]
	for i != nil {
		i.below, first, i = first, i, i.below
	}
	return first
}
