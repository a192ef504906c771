// Package table is the suite of the connection table: lookups at several
// sizes beside Go's maps, insertion and expiry, two writers at once, and what
// ten million connections cost in memory, in garbage collection and in the
// longest wait.
package table
