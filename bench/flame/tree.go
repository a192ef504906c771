package flame

import (
	"cmp"
	"slices"
)

// node is a function as called by those above it.
type node struct {
	name  string
	value int64 // with everything it calls
	calls []*node
}

// tree joins stacks that begin alike. Its root stands for all.
func (s *Stacks) tree() *node {
	root := &node{name: "all"}
	for i := range s.List {
		n := root
		n.value += s.List[i].Value
		for _, f := range s.List[i].Functions {
			n = n.call(f)
			n.value += s.List[i].Value
		}
	}
	root.sort()
	return root
}

// call is the node of a function that n calls.
func (n *node) call(name string) *node {
	for _, c := range n.calls {
		if c.name == name {
			return c
		}
	}
	c := &node{name: name}
	n.calls = append(n.calls, c)
	return c
}

func (n *node) sort() {
	slices.SortFunc(n.calls, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	for _, c := range n.calls {
		c.sort()
	}
}

// depth is how many levels of n are as wide as least.
func (n *node) depth(least int64) int {
	deepest := 0
	for _, c := range n.calls {
		if c.value >= least {
			deepest = max(deepest, c.depth(least))
		}
	}
	return 1 + deepest
}
