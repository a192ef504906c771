// Package ipvsadm is the command ipvsadm(8), release 1.31: its whole grammar,
// its messages, its exit codes and its listings, byte for byte.
//
// Run executes one command line on a Backend. The package is pure: it reads and
// writes only the streams it is given, and asks a Resolver for names. It never
// exits, logs or starts a goroutine.
package ipvsadm
