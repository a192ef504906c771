// Package integration holds usvs to what an operator would see: the real
// program in real network namespaces, configured by the commands he would
// type, and judged by programs that nobody here wrote (nginx, curl, iperf3,
// tcpdump, arping, ping, nstat, nft), beside those it is run with (keepalived,
// ipvsadm). It has tests only.
//
// A test makes its network with link/netnstest, one Lab per test, so nothing
// of the machine's own network is touched. TestMain builds cmd/usvs once, with
// the race detector when the tests have it; the director is a process of that
// program in its namespace, and `usvs ipvsadm` finds it by the namespace's own
// control socket.
//
// # Rules for tests here
//
//   - Nothing is asserted about time. What takes time is waited for by its
//     effect (eventually), with a bound that only a hang reaches.
//   - "Nothing happens" is asserted after something that would have come later
//     has come: a second request that was answered, a frame sent behind.
//   - A test ends with the director's log and every end of its process
//     checked: see startDirector.
//
// The test binary is also a few small programs, which run in usvs exec: see
// testProgram.
//
// USVS_LONG=1 makes throughput runs 10 s long. -short leaves them out.
package integration
