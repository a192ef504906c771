// Package director is the one place where the whole pipeline is spelled out: a
// frame comes in, is parsed, matched against connections and services, and
// leaves rewritten, answered, declined or dropped.
//
// The package is pure: (time, frame, snapshot) in, frames out. It reads no
// clock, opens no socket, starts no goroutine and logs nothing. What a frame
// meets, in this order, and the file it is in:
//
//	worker.go    Handle and Tick; which frames concern the director at all
//	lane.go      batches of ordinary frames of established connections
//	way.go       the next hops that a worker remembers for those
//	gather.go    fragments become datagrams, or their senders are told
//	input.go     client to virtual service: lookup, port reuse, state, counters
//	schedule.go  new connections: eligibility, persistence, scheduler, insertion
//	transmit.go  next hop, TTL, MTU, then NAT, DR, TUN or local delivery
//	bypass.go    a service without servers: on to where the packet was going
//	app.go       the FTP helper: what is announced is expected, and rewritten
//	sip.go       the SIP persistence engine, and calls that servers begin
//	output.go    real server to client: lookup, state, source rewriting
//	related.go   ICMP errors about a connection, in both directions
//	tunnel.go    ICMP errors about a tunnel's outer packet
//	local.go     what the director answers itself, and what it leaves to the host
//	sent.go      what the host itself sends
//	sendto.go    packets of the host's own on a client's way to a server
//	send.go      link headers, neighbours, fragments
//	explain.go   who hears of each decision, if anybody does
//	unreachable.go  frames that waited in vain for their next hop
//	upkeep.go    what settings want done by itself, in slices; drop_packet
//	snapshot.go  what an operator decides, and how it is looked up
//	index.go     the tables of snapshots, kept up to date change by change
//	endpoint.go  maps by protocol, address and port that share what stays
//	sets.go      sets of addresses and endpoints of that kind
//	station.go   where addresses are that VRRP manages, and their virtual MACs
//	hidden.go    which received frames the host's own stack must not see
//	check.go     a snapshot's tables compared with its services, for tests
//	tally.go     counting, shared counters being touched as seldom as nobody minds
//
// # Concurrency
//
// Any number of Workers, one goroutine each, share one Director: the
// connection table, the neighbour cache and the Snapshot. The table is
// lock-free throughout and the Snapshot immutable.
//
// Lock order, outermost first: control's mutex; then a Picker's mutex, which a
// packet takes only to open a connection with a scheduler that remembers what it
// decides. The reassembler's shard mutex is
// taken by fragments only and with no other lock held.
//
// # Invariants
//
//   - An established connection's frame allocates nothing and takes no lock.
//   - Every frame ends in exactly one verdict; every drop has a named reason.
//     One that has to wait for its next hop's MAC ends as Waiting, and is
//     counted again as DropNeighbour should that never answer.
//   - Malformed input is dropped and counted, never trusted and never fatal.
package director
