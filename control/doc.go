// Package control owns the wanted state: virtual services, real servers, mark
// rules, owned addresses and settings. It validates a change as the kernel
// would, tells the schedulers, makes the next director.Snapshot of the last one
// and what changed, and publishes it. It also keeps what is shown of the past:
// counters folded every two seconds, rates, and the trash of deleted real
// servers.
//
// It implements ipvsadm.Backend. It opens no socket and starts no goroutine;
// what must happen by itself happens in Tick, which its owner calls.
//
// # Files
//
//	control.go   what it is made of, Tick
//	change.go    changes one by one and in batches
//	publish.go   snapshots, which share with the last one what stays
//	validate.go  what the kernel refuses, and with which error
//	service.go   add, edit, delete virtual services
//	server.go    add, edit, delete real servers
//	trash.go     deleted real servers, and how they come back
//	estimate.go  counters and rates as shown
//	list.go      everything that only reads
//	proc.go      the files of /proc/net
//	marks.go     mark rules in iptables syntax
//	sysctl.go    settings, and what automatic ones make of the free memory
//	settings.go  settings in rules files
//	own.go       owned addresses, and what is hidden from the host
//	managed.go   addresses that VRRP manages
//	script.go    rules files: lines, quoting, variables
//	rules.go     rules files: execution on a scratch Control, differences
//	adopt.go     those differences, applied
//	daemon.go    synchronisation daemons
//
// # Invariants
//
//   - A published Snapshot and every slice in it never change again.
//   - A RealServer is in exactly one of: a service's list, the trash, nowhere.
//     It keeps its index in the Registry until it leaves the trash unreferenced.
//   - A refused change leaves no trace.
//
// # Lock order
//
// Control's mutex is the outermost lock of usvs. Under it a Picker's mutex is
// taken, and Config.Publish is called, which must not call back.
package control
