// Package conntrack is the connection table: every connection and persistence
// template the director knows, their protocol states and their timers.
//
// It is lock-free throughout: lookup, insert, state change, removal, expiry
// and growth use atomic words only. There is no mutex, no waiting for another
// goroutine, no goroutine or channel of its own. A goroutine that stops at any
// step whatever delays nobody; at most the one entry or timer record it holds
// waits for it. Build with the tag parkpoints to have a test stop one at every
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
//     same word, that it controls nobody, and does its accounting, once.
//   - Entries of a shard form one split-ordered list (Shalev and Shavit, 2006)
//     on Michael's algorithm (2002) with tagged links (list.go). A bucket is one
//     word that is itself a node of the list. Growing doubles their number;
//     buckets join the list when first used, one goroutine each, and while that
//     one sleeps the others start from the bucket it was split from.
//   - Timers are records in a hierarchical wheel per shard (wheel.go). A packet
//     only moves its entry's expiry; the record finds out when it fires. Work is
//     proportional to what expires, not to the table. What several records will
//     read when they fire is touched first for all of them.
//
// As in the kernel, the hash covers the client's address and port and the
// protocol only, so that one entry serves both directions (ipvs.md 2.1).
//
// A packet of an established connection has a shorter way (probe.go): batches of
// probes search side by side, follow the list without proving each step, and
// trust an entry whose control word was the same before and after it was compared.
//
// # Hostile clients
//
// The hash is keyed (SipHash-1-3), so nobody without the key can aim at a
// bucket. Connections of one client address and port do share a place; there
// may be maxRun of them. The table as a whole has a limit, and Insert says Full
// at either. One call does a bounded amount of work: a bucket's handful of
// entries, at most maxRun of them, or Tick's budget.
//
// # Invariants
//
//   - An entry's words other than next, ctl, ends, usage and timer change only
//     between two generations, and so do the records that belong to it. A copy
//     whose generation was the same before and after is consistent, if the entry
//     was alive after.
//   - An entry is alive only after it was linked. Its counts on real server and
//     controlling template are taken before, and given back after its death.
//   - Whoever unlinks an entry frees it. Only a marked entry is unlinked, only a
//     dead one is marked, and both only while its predecessor is seen to lead to it.
//   - An expiry that was closed is never reopened, except for an entry that
//     controls others; an entry is killed for its age only after closing.
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
// Per connection: 68 bytes of entry with its link, 8 to 16 of bucket, 12 per
// timer record, usually one, never more than maxRecords. That is 88 to 96 bytes,
// or 400 MB for DefaultMaxEntries. An IPv6 address anywhere takes 68 more; a
// mark, a controller, or a timeout that is odd or long 24 per entry of its chunk;
// what a synchronisation master told 8, once there is one (sync.go).
//
// Everything is made in chunks when needed, or ahead of need if somebody calls
// Prepare (prepare.go): that shows in nothing but in how long calls take, and up
// to a tenth more memory. What is free is used again. Trim gives chunks back that
// a flood has left empty (trim.go); buckets stay, in segments that double.
package conntrack
