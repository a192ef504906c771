// Package keeper sees to a connection table's memory beside the packets' way.
//
// Prepare has memory made that the table will soon need, in large pages where
// the system has them: a packet then waits neither for the system to provide a
// page nor, as often, for the processor to find one. Trim gives back what a
// flood of connections left.
//
// It must not decide anything: what a table does is the same without a keeper.
package keeper
