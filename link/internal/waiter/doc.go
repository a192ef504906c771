// Package waiter is what the Linux device backends share: waiting for a
// descriptor, for a wake-up or for the time, whichever comes first, and closing
// descriptors while other goroutines may be about to use them.
//
// A descriptor must not be closed under a running call: its number could be
// given to another file at once. So every call that uses descriptors is
// between Enter and Leave, Close only forbids further entries, and who leaves
// last releases the descriptors. All of it is atomics: the hot path has no lock.
package waiter
