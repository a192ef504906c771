// Package script runs the programs that a configuration names: notify scripts,
// tracking scripts, check scripts and readers of FIFOs.
//
// A Command is what the configuration says, a Policy what holds for all of
// them. Prepare finds the file, the user and the group, and refuses what may
// not run; a Program runs as often as it is asked to.
//
// No shell is in between: a file is executed directly, and /bin/sh reads it
// only if the kernel finds that it is no program (a text without #!). Every
// run is a process group of its own, is ended as a group (SIGTERM, then
// SIGKILL), and what it writes is thrown away unless somebody asks for it.
//
// The package starts nothing by itself and keeps no state: Run blocks until
// the process and everything that waits for it is gone.
package script
