// Package machine is IPVS's protocol state machines told a second time: the
// tables of the fact sheet as they stand there, read by the letter. The judge of
// random scenarios (package netsim/fuzz) predicts with it what the director's
// connection table must show, and its Walk finds out which cells of the tables
// connections can meet, and how.
//
// It shares no code and no types with package conntrack, which it is to judge:
// states are names, tables are text. It is pure, and slow.
package machine
