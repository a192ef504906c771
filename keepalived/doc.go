// Package keepalived reads keepalived.conf: text in, a typed configuration and
// a report of what is wrong with it out.
//
// It accepts and rejects what keepalived 2.2.7 does with -t, and on the same
// lines; the recordings in testdata hold it to that. It may not read files,
// look at interfaces or know the time: files come in through Files.
//
// The way of a configuration:
//
//   - reader turns files into logical lines: comments, conditions, definitions,
//     loops, includes and braces are gone, every line knows its file and number.
//   - parser looks each line's keyword up in the table of the block it is in
//     (table_*.go) and calls its handler, which fills a field of Config.
//   - finish_*.go fills in what depends on more than one statement: defaults,
//     inheritance, references between blocks.
//
// A Reader (recall.go) reads the same configuration again: a virtual_server
// whose text stands alone and is as it was is taken from the time before, with
// its positions where it is now (moved.go). Whatever looks at more than the
// text at hand sets reader.context, and such a block is read every time.
//
// The package reads and validates; package node runs by what it reads.
//
// Invariants: a Reader returns what Parse does. Nothing panics and nothing grows
// without bound, whatever the text is: lines, their lengths, includes,
// expansions, braces and problems are limited (limits.go). A Value that the text
// does not set has no position. Every keyword of a table is either in Config or
// named in a warning.
package keepalived
