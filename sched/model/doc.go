// Package model holds literal models of the IPVS schedulers and of a real
// server's counts, for tests and for judges of a running director.
//
// Each model does what ipvs.md section 1 says in the order in which it says
// it: pointers for cursors, one level at a time, whole permutations written
// down, tables scanned from end to end. It shares no function with package
// sched, so that the two can be wrong only independently, and it is slow:
// nothing that serves packets may use it.
//
// A model takes the calls that a director.Picker makes of a scheduler, reads
// the same servers, and must answer the same. Given an equal source of
// randomness, which only twos uses, it draws the same numbers.
//
// Where usvs knowingly differs from the kernel the model follows usvs and says
// so. There are two such places, both in lblc and lblcr: their collection
// timer starts with the first packet and not with the service, and a set of
// lblcr forgets deleted servers before it grows without bound.
//
// Models are not safe for concurrent use, open nothing and read no clock.
package model
