// Package host is everything usvs asks of the Linux machine it runs on.
//
// On a director:
//
//   - Watcher follows the interfaces, addresses and routes of the network
//     namespace and publishes them as immutable route.Tables.
//   - Suppressor keeps the host's own stack from seeing what director.Hidden
//     lists, with an nftables table that the kernel removes when the process ends.
//   - Handoff gives the host's stack those of the hidden frames that are its own
//     after all, through a private pair of interfaces.
//   - Receiver has threads of the kernel's receive for an interface, not interrupts.
//   - InterfaceWatcher follows all interfaces without their routes; Addresses puts
//     virtual addresses on them and notices when somebody takes one away.
//   - VRRPSockets and Frames carry VRRP packets and announcements of addresses.
//   - CheckCapabilities says which permission is missing, and how to get it.
//
// On a real server, RealServerUp, RealServerDown and RealServerStatus put VIPs
// on the loopback interface without answering ARP for them, and RunDecapsulator
// unpacks tunnelled packets where the kernel cannot.
//
// The package runs no programs. Everything acts on the network namespace of the
// thread that calls the constructor and keeps to it: sockets and open files of
// /proc/sys stay in the namespace they were opened in. What is made in the
// kernel goes away with the process; where the kernel cannot promise that (an
// interface pair), the next start removes what a killed process left behind.
// Errors name what is missing and what to do about it.
//
// # Limits
//
// Watcher reads the tables local, main and default in that order, as a host
// without policy routing does; other tables and rules are not looked at. Of a
// multipath route it takes the first next hop. Suppressor does not look behind
// VLAN tags: a tagged frame belongs to another interface.
//
// # Locks
//
// VRRPSockets and Addresses have one mutex each; nothing is called back under
// it. Suppressor has one mutex, held while it talks to the kernel; nothing is
// called back under it. Watcher calls back from one goroutine at a time, and
// holds no lock then.
package host
