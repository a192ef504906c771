// Package ipvsabi speaks the Linux kernel's IPVS control interface, so that
// unmodified programs (ipvsadm, keepalived, moby/ipvs) can manage a usvs
// director: the generic netlink family "IPVS" and the older socket options.
//
// It turns bytes that a program meant for the kernel into calls of an
// ipvsadm.Backend and the outcome into the bytes the kernel would have
// answered. How the bytes get here and back is the business of its caller.
// It holds no table of its own, opens nothing, starts nothing and waits for
// nothing but its Backend.
//
// The model is Linux 6.1: the attributes of an answer and their order, the
// order of checks, the size of a dump's datagrams and the error numbers are
// those recorded from it; testdata holds the recordings.
//
// # Where usvs differs, or the kernel has no answer
//
//   - A director that cannot be reached is ECONNREFUSED, which ipvsadm shows as
//     "Can't initialize ipvs: Connection refused".
//   - A request that this usvs cannot carry out is EOPNOTSUPP.
//   - Any other refusal without an error number of its own is EINVAL.
//   - Services of other protocols than TCP, UDP and SCTP, and forwarding methods
//     beyond Bypass, are EINVAL. The kernel takes both, by netlink only, and then
//     has nothing to do for them.
//   - A persistence timeout without the persistent flag is not remembered.
//   - A fwmark service counts as a TCP service, as when made by netlink.
//
// # Invariants
//
// Requests are hostile: lengths are checked before use, a malformed message
// ends its datagram as in the kernel, and nothing a request says makes an
// answer larger than the table it asks for. Host order is the machine's own,
// as in the kernel; x86-64 and arm64 share all layouts.
//
// A Server may be used by anyone at any time. Its one mutex makes a change of
// a service's flags, which reads them first, a single step; the Backend's own
// locks come below it.
package ipvsabi
