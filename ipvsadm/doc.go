// Package ipvsadm is the command ipvsadm(8), release 1.31: its whole grammar,
// its messages, its exit statuses and its listings, byte for byte.
//
// A command line passes through scan.go (words, as popt splits them), parse.go
// (their meaning, strictly from left to right), matrix.go (which options go
// together) and run.go (what is asked of the Backend), and ends as a verdict:
// a text for stderr and an exit status. list.go, conn.go and save.go write what
// a Backend lists, in the order of sort.go. word.go holds the vocabulary. The lines of a restore that
// change something reach a Backend that can do so in batches (batch.go, change.go).
//
// Quirks of the original are kept where they can be seen: the sort that wraps
// around, marks shown as negative numbers, what a save leaves out. A comment
// says so at each.
//
// The package is pure: it reads and writes only the streams it is given, and
// asks a Resolver for names. It never exits, logs, starts a goroutine or keeps
// anything between two calls, so that it has no locks. A bad command line
// never reaches the Backend with a change.
package ipvsadm
