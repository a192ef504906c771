// Package trie is a hash map with cheap snapshots: a hash trie that copies what
// it changes and shares the rest.
//
// A Map belongs to one writer. Freeze returns a View of what the Map contains
// now, in constant time; changes made to the Map later do not show in it. A
// View may be read by anyone at any time, without a lock and without
// allocating. A change after a Freeze copies one path from the root, and further
// changes before the next Freeze change that copy in place, so that filling a
// large Map costs little more than filling a map of Go's. Diff finds the keys
// in which two Views differ in time proportional to what one has changed since
// it parted from the other.
//
// The package must not depend on anything else of this module, and its results
// on nothing but what was set and deleted, in which order, and the hash function
// that it is given: All visits the keys in an order that repeats.
//
// Invariants: a branch of another generation than its Map's is never written
// to; an entry of a leaf is written once, before a View shows it; no branch but a
// new root is empty; a cell has either a branch or a leaf.
package trie
