// Package sched holds the IPVS schedulers, one file each: pick a real server
// for a new connection.
//
// A scheduler keeps the service's list of real servers, newest first, as its
// last Update gave it, and walks it in that order. It reads the servers' live
// counters and weights, which others change meanwhile, and writes nothing but
// its own state. It opens nothing, starts nothing and reads no clock: time
// comes with each Request, and caches that expire do so inside Schedule.
//
// Where the rule is to look at all servers and pick the best, and there are many,
// they are kept in a heap (ranking.go), which decides exactly as looking would.
//
// Invariants:
//   - Schedule never returns a server that is overloaded or has weight 0,
//     except lblc, which like the kernel lets a cached choice stand when the
//     connection thresholds would hide it. dh, mh, lblc and lblcr remember
//     servers and check that a remembered one is still available.
//   - Schedule does not allocate, except where the caches of lblc and lblcr
//     grow, and its work is bounded by the number of servers and the fixed
//     table sizes, whatever weights and addresses it is shown.
//   - The same servers, requests and random source give the same choices.
//
// Lock order: none here. A scheduler is not safe for concurrent use: the
// service's scheduler mutex, held by its caller, is the only lock. Anyone may ask
// what Still returns, though.
package sched
