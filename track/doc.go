// Package track watches what a node's priority and its servers' weights may
// depend on: scripts that are run again and again, numbers in files, and
// processes. It reports what is so; what follows from that is decided in
// packages vrrp and health.
//
// Each type reports by a function that it calls from goroutines of its own,
// never while it holds a lock: the function may call back. Nothing is reported
// after Close has returned.
//
// Scripts run one at a time each. Files are looked at once a second, and at
// once when inotify says so. Processes are counted once a second from /proc:
// unlike keepalived, which hears of each fork from the kernel, usvs needs no
// privilege for it and does no work per fork, but may miss a process that
// lives less than that.
package track
