package trie

import "slices"

// leafMax is how many entries a leaf has before it becomes a branch.
const leafMax = 8

// Map is a map that Views can be taken of. It is not safe for concurrent use,
// and must not be copied.
type Map[K comparable, V any] struct {
	View[K, V]
	generation uint64
}

// New returns an empty Map. The hash's low bits tell keys apart first.
func New[K comparable, V any](hash func(K) uint64) *Map[K, V] {
	return &Map[K, V]{View: View[K, V]{hash: hash}, generation: 1}
}

// Freeze returns what the Map contains now.
func (m *Map[K, V]) Freeze() View[K, V] {
	m.generation++
	return m.View
}

// Set gives k a value.
func (m *Map[K, V]) Set(k K, val V) {
	h := m.hash(k)
	m.root = m.mine(m.root)
	b := m.root
	for depth := 0; ; depth++ {
		c := &b.cells[h%fanout]
		h >>= bitsPerLevel
		if c.sub == nil && len(c.leaf) >= leafMax && depth < maxDepth && c.find(k) < 0 {
			*c = cell[K, V]{sub: m.split(c.leaf, depth+1)}
		}
		if c.sub == nil {
			m.put(c, k, val)
			return
		}
		c.sub = m.mine(c.sub)
		b = c.sub
	}
}

// put gives k a value in the leaf of c. A new entry goes behind those that Views
// may see, which append leaves alone; an old one is never written to.
func (m *Map[K, V]) put(c *cell[K, V], k K, val V) {
	i := c.find(k)
	if i < 0 {
		c.leaf = append(c.leaf, entry[K, V]{val, k})
		m.n++
		return
	}
	c.leaf = slices.Clone(c.leaf)
	c.leaf[i].val = val
}

// Delete removes k and reports whether it was there.
func (m *Map[K, V]) Delete(k K) bool {
	if !m.Has(k) {
		return false
	}
	m.n--
	m.root = m.without(m.root, k, m.hash(k))
	return true
}

// without returns b without k, which it has; nil if nothing is left.
func (m *Map[K, V]) without(b *branch[K, V], k K, h uint64) *branch[K, V] {
	b = m.mine(b)
	c := &b.cells[h%fanout]
	if c.sub != nil {
		c.sub = m.without(c.sub, k, h>>bitsPerLevel)
	} else {
		c.remove(c.find(k))
	}
	if b.empty() {
		return nil
	}
	return b
}

// remove replaces the leaf by one without its entry i.
func (c *cell[K, V]) remove(i int) {
	if len(c.leaf) == 1 {
		c.leaf = nil
		return
	}
	leaf := make([]entry[K, V], 0, len(c.leaf)-1)
	c.leaf = append(append(leaf, c.leaf[:i]...), c.leaf[i+1:]...)
}

func (b *branch[K, V]) empty() bool {
	for i := range b.cells {
		if c := &b.cells[i]; c.sub != nil || c.leaf != nil {
			return false
		}
	}
	return true
}

// mine returns b if no View has it, else a copy; for nil a new branch.
func (m *Map[K, V]) mine(b *branch[K, V]) *branch[K, V] {
	switch {
	case b == nil:
		return &branch[K, V]{generation: m.generation}
	case b.generation == m.generation:
		return b
	}
	c := *b
	c.generation = m.generation
	return &c
}

// split makes a branch of the given depth of a full leaf.
func (m *Map[K, V]) split(leaf []entry[K, V], depth int) *branch[K, V] {
	b := m.mine(nil)
	for _, e := range leaf {
		c := &b.cells[m.hash(e.key)>>(depth*bitsPerLevel)%fanout]
		c.leaf = append(c.leaf, e)
	}
	return b
}
