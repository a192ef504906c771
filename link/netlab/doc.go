// Package netlab makes networks of the program's own inside the kernel:
// namespaces, each a machine, and the process that may make them.
//
// Only a process that has CAP_SYS_ADMIN over its own namespaces can do so. Enter
// starts the program again as such a process, as root or in a user namespace;
// there Isolate has been called and everything else of this package works. When
// that process ends, the kernel ends all it started and the networks with it.
// Nothing of the machine's own network is touched.
//
// The package knows nothing of tests and prints nothing. A Namespace may be used
// by any number of goroutines until it is closed.
package netlab
