// Package sched holds the IPVS schedulers, one file each: pick a real server
// for a new connection.
//
// A scheduler keeps the service's list of real servers, newest first, as its
// last Update gave it. It is not safe for concurrent use: the service's
// scheduler mutex, held by its caller, is the only lock. It reads the servers'
// live counters and weights, which others change meanwhile.
package sched
