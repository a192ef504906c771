// Package ipvs is the vocabulary of the IP Virtual Server: virtual services,
// real servers, forwarding methods, flags, timeouts, counters and errors, in
// the words and with the numbers of ipvsadm(8) and the kernel.
//
// A VirtualService and a RealServer are identities that outlive snapshots:
// what identifies them is fixed, everything that traffic or an edit changes is
// atomic. The wanted state of each is a plain value: ServiceSpec, ServerSpec.
//
// Lock order: none; nothing here blocks.
package ipvs
