// Package conntrack is the connection table: every connection and persistence
// template the director knows, their protocol states and their timers.
//
// It is lock-free throughout: lookup, insert, state change, removal, expiry
// and growth use atomic words only. There is no mutex, no waiting for another
// goroutine, no goroutine or channel of its own. A goroutine that stops at any
// step whatever delays nobody; at most the one entry, line or timer record it
// holds waits for it, or the bucket within which or from which it moves words, and
// with that the next doubling of a shard. What is free already, and on its way to
// where others take it from, some dozens of entries and records, is not there for
// them as long. Build with the tag parkpoints to have a test stop one at every
// step in turn.
//
// It reads no clock and draws no lots: time comes in as an argument, the hash
// seed through New. With the same seed, one worker gets the same results in
// the same order.
//
// # Structure
//
// Entries live in a slab without pointers and are named by number (pool.go,
// entry.go); the collector never looks inside. An entry is one cache line, with
// all that a packet of an IPv4 connection needs. Real servers are named by their
// index in an ipvs.Registry.
//
//   - An entry's control word holds its generation, its life (dead, embryo,
//     alive), its state and flags, and how many entries it controls. It changes
//     by compare-and-swap only, so whoever makes an entry die has seen, in the
//     same word, that it controls nobody, does its accounting, once, takes its
//     word out of the index and frees it.
//   - The index is lines of slots (line.go, shard.go). A bucket is one cache
//     line of seven words and a link to lines it overflows into; a word is an
//     entry's number and so much of its hash that another entry is rarely looked at
//     in vain, and that buckets are split without looking at any. So a search reads
//     a bucket and an entry, and decides nothing between the two (find.go).
//   - Growing doubles a shard's buckets (split.go): the number first, then bucket
//     by bucket what belongs to the new one is moved there, in place. One goroutine
//     has both; while it sleeps the others search both, the old one first,
//     and what it moves is in the new one before it leaves the old (search.go). A
//     search that finds nothing begins again if anything was doubled meanwhile. Where
//     there is room in a bucket again, after a split or because an entry has ended,
//     words come back from what it overflows into.
//   - Workers that insert say which one they are (Spec.Worker). Numbers belong to
//     them chunk by chunk, and with the numbers free lists, timers and counts
//     (portion.go), so that no worker waits for memory another has changed. Which
//     one it is changes no result but which numbers entries get.
//   - Timers are records in hierarchical wheels, per worker and shard (wheel.go). A packet
//     only moves its entry's expiry; the record finds out when it fires. Work is
//     proportional to what expires, not to the table. What several records will
//     read when they fire is touched first for all of them, and what they leave is
//     given back and counted for all at once (freed.go).
//
// As in the kernel, the hash covers the client's address and port and the
// protocol only, so that one entry serves both directions (ipvs.md 2.1).
//
// A packet of an established connection has a shorter way (probe.go, hit.go):
// batches of probes search side by side, and trust an entry whose control word was
// the same before and after it was compared. What such a packet does is looked up in
// one table for all protocols (rules.go). Prefetching is the only thing here that is
// not written in Go, for amd64 (prefetch_amd64.s): elsewhere reads do the same, slower.
//
// # Hostile clients
//
// The hash is keyed (hash.go says what that promises), so nobody without the key
// can aim at a bucket. Connections of one client address and port do share a place; there
// may be maxRun of them. The table as a whole has a limit, and Insert says Full
// at either. One call does a bounded amount of work: a bucket's handful of
// entries, at most maxRun of them, the splitting of a few buckets, or Tick's
// budget.
//
// # Invariants
//
//   - An entry's words other than ctl, ends, usage and timer change only
//     between two generations, and so do the records that belong to it. A copy
//     that began and ended while the entry was alive, in one generation, is
//     consistent.
//   - What is in no index, slot or list is written without waiting for others to
//     see it (set64): they do when the atomic step has been made that leads to it.
//   - A word only hints at an entry; what the entry itself says, holds. A word may
//     stand, for a while, where it does not belong or for an entry that was freed:
//     somebody who sleeps will take it back. A living entry has a word where a
//     search of its hash finds it.
//   - Of two entries with one key at most one is alive (Insert). An embryo's word
//     was put where it belongs, among as many buckets as there were after that,
//     before it looked for others.
//   - Only its owner or killer takes a word out, once, whether it is marked as
//     leaving or not. A marked copy is taken out by whoever made it, or along with
//     the word.
//   - Words move only within and between buckets that their mover has seized, one at
//     a time: it marks the word, sees that its line still stands where it stood, which
//     holds from then on because the line is not empty, makes a marked copy, takes
//     the word out, and takes the mark off the copy. No mark outlasts the seizure,
//     and nobody else makes marks on words of that hash: a word without is another.
//   - Lines are put on a bucket and taken off beside the bucket only, by one swap
//     of its meta word, which counts changes. One is taken off when all its slots
//     are closed. A word that was put into a line counts if no line was put on or
//     taken off meanwhile.
//   - An entry's counts on real server and controlling template are taken before
//     it lives, and given back after its death.
//   - An expiry that was closed is never reopened, except for an entry that
//     controls others; an entry is killed for its age only after closing.
//   - Whose a number is decides only to which list it is given back, and may
//     change while somebody holds it. A chunk's fresh numbers are given out by the
//     worker that began its turn, in the turn after the one it saw when it chose
//     the chunk, and in no other.
//   - A chunk is dropped only when all its entries are free, on the chunk's own
//     list, and taken off it in one step. Its entries of later have generations
//     after those of before. A number may lead nowhere for whoever does not hold
//     what it names; a pointer keeps what it points to.
//   - The timer word names the earliest record an entry relies on. It is changed
//     before the record is filed, and the expiry is looked at again after.
//   - A slot of the wheel is drained after the cursor has reached it; a record is
//     filed in slots the cursor has not reached, and its owner looks again.
//
// Lock order: there are no locks. Within the table nothing is called back but
// the methods of ipvs.RealServer that count, yield of Walk and List, and whom
// OnLater and OnGrowth name.
//
// # Side records
//
// What few entries have, a persistence engine's data or a helper's state,
// stands in records of their own (side.go), found by the entry's number through
// a link that carries the entry's generation and a count of changes. Records do
// not change while linked. Whoever unlinks an entry frees its record with it; a
// copy's record is read before its generation is checked. A template's data is
// part of its key. A record has 300 bytes.
//
// A connection whose client's port is not known yet is in the table with port 0
// and found when nothing else is. It cannot get the port, for keys do not
// change: FillPort inserts another one, to which its count passes.
//
// # Memory
//
// Per connection: 68 bytes of entry with its link, 13 to 27 of bucket, 12 per
// timer record, usually one, never more than maxRecords. That is 93 to 107 bytes,
// or 430 MB for DefaultMaxEntries. An IPv6 address anywhere takes 68 more; a
// mark, a controller, or a timeout that is odd or long 24 per entry of its chunk;
// what a synchronisation master told 8, once there is one (sync.go).
//
// Everything is made in chunks when needed, or ahead of need if somebody calls
// Prepare (prepare.go): that shows in nothing but in how long calls take, and up
// to a tenth more memory. What is free is used again. Trim gives chunks back that
// a flood has left empty (trim.go); buckets stay, but not
// what they overflowed into.
package conntrack
