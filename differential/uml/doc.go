// Package uml boots a real Linux kernel as an ordinary process: Debian's
// user-mode-linux, on this machine's files, read-only, in about a second. It
// knows nothing of IPVS.
//
// The program inside, started as process 1 with the arguments given to Boot, is
// answered over a serial line: it calls Serve, and every job that the outside
// gives to Machine.Run goes in as a file and comes back as one.
//
// Two calls that the kernel makes to the C library are redirected, in a copy of
// the executable (image_linux.go), never in the installed file:
//
//   - clock_gettime adds an amount that the outside may raise. So the machine
//     sleeps minutes in milliseconds (clock_linux.go): its timers run, in order
//     and at their times, only sooner.
//   - ptrace passes as much of the processor's state as the host has. The 6.1
//     kernel has room for processors up to AVX-512, and hosts that have more
//     (AMX) refuse to set less than all.
package uml
