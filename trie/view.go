package trie

import "iter"

const (
	bitsPerLevel = 5
	fanout       = 1 << bitsPerLevel
	// maxDepth is the last level that the bits of a hash tell apart. Keys that
	// agree in all of them share a leaf of any length.
	maxDepth = 64/bitsPerLevel - 1
)

// View is an immutable map. The zero View is empty.
type View[K comparable, V any] struct {
	root *branch[K, V]
	hash func(K) uint64
	n    int
}

// branch is an inner node.
type branch[K comparable, V any] struct {
	generation uint64
	cells      [fanout]cell[K, V]
}

// cell is what follows one value of a level's bits.
type cell[K comparable, V any] struct {
	sub  *branch[K, V]
	leaf []entry[K, V]
}

// entry has the value first: behind the key an empty one would take a word.
type entry[K comparable, V any] struct {
	val V
	key K
}

// Len is the number of keys.
func (v *View[K, V]) Len() int { return v.n }

// Has reports whether k is a key.
func (v *View[K, V]) Has(k K) bool {
	_, ok := v.Get(k)
	return ok
}

// Get returns the value of k, and whether k is a key.
func (v *View[K, V]) Get(k K) (val V, ok bool) {
	if v.root == nil {
		return val, false
	}
	h := v.hash(k)
	c := &v.root.cells[h%fanout]
	for c.sub != nil {
		h >>= bitsPerLevel
		c = &c.sub.cells[h%fanout]
	}
	for i := range c.leaf {
		if e := &c.leaf[i]; e.key == k {
			return e.val, true
		}
	}
	return val, false
}

// All visits every key with its value, in no order that means anything.
func (v *View[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		top := cell[K, V]{sub: v.root}
		top.each(func(e *entry[K, V]) bool { return yield(e.key, e.val) })
	}
}

// Diff calls gone for every key that only old has, and came for every key that
// only is has. Values do not count.
func Diff[K comparable, V any](old, is *View[K, V], gone, came func(K)) {
	hash := old.hash
	if hash == nil {
		hash = is.hash
	}
	d := differ[K, V]{hash, gone, came}
	d.cells(&cell[K, V]{sub: old.root}, &cell[K, V]{sub: is.root}, 0)
}

type differ[K comparable, V any] struct {
	hash       func(K) uint64
	gone, came func(K)
}

// cells compares two cells to which shift bits of the hash lead. The level of a
// View's root, which has a cell above it for symmetry, is the first.
func (d *differ[K, V]) cells(old, is *cell[K, V], shift uint) {
	switch {
	case old.sub != nil && old.sub == is.sub:
	case old.sub != nil && is.sub != nil:
		for i := range old.sub.cells {
			d.cells(&old.sub.cells[i], &is.sub.cells[i], shift+bitsPerLevel)
		}
	case old.sub == nil && is.sub == nil && sameLeaf(old.leaf, is.leaf):
	default:
		d.only(old, is, shift, d.gone)
		d.only(is, old, shift, d.came)
	}
}

// only tells of the keys of a that b has not.
func (d *differ[K, V]) only(a, b *cell[K, V], shift uint, tell func(K)) {
	a.each(func(e *entry[K, V]) bool {
		if !b.has(e.key, d.hash, shift) {
			tell(e.key)
		}
		return true
	})
}

func sameLeaf[K comparable, V any](a, b []entry[K, V]) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// each visits the entries below c until yield returns false.
func (c *cell[K, V]) each(yield func(*entry[K, V]) bool) bool {
	for i := range c.leaf {
		if !yield(&c.leaf[i]) {
			return false
		}
	}
	if c.sub == nil {
		return true
	}
	for i := range c.sub.cells {
		if !c.sub.cells[i].each(yield) {
			return false
		}
	}
	return true
}

// has looks for k below c, to which shift bits of its hash lead.
func (c *cell[K, V]) has(k K, hash func(K) uint64, shift uint) bool {
	if c.sub == nil {
		return c.find(k) >= 0
	}
	h := hash(k) >> shift
	for c.sub != nil {
		c = &c.sub.cells[h%fanout]
		h >>= bitsPerLevel
	}
	return c.find(k) >= 0
}

// find returns the index of k in the leaf, or -1.
func (c *cell[K, V]) find(k K) int {
	for i := range c.leaf {
		if c.leaf[i].key == k {
			return i
		}
	}
	return -1
}
