// Package oracle plays recordings of a real Linux ip_vs through usvs and says
// where the two differ: which server each packet reached, every frame the
// director emitted, every line a command printed.
//
// A recording is a text file, one step a line: commands, frames, pauses, and
// what came of each (docs/oracle.md). The director under test is the production
// one, in virtual time; commands run through the production control, ipvsadm
// and sysctl, in the shell of package oracle/shell. Around it stands a host as
// the recordings had it: three Ethernet links, routes, static neighbours, and
// a stack that answers, runs small programs, and forwards what the director
// declines.
//
//	trace.go      a recording, read; macro.go: the frames its short lines stand for
//	play.go       its steps, one after the other
//	world.go      the recorded machine; link.go: its links
//	hoststack.go  what its stack does; program.go: UDP programs on it
//	network.go    ip; command.go: ipvsadm, sysctl, modprobe and the other commands
//	procfs.go     its files in /proc; names.go: its names
//	sync.go       its synchronisation daemons; fragments.go: fragments, put together
//	compare.go    frames, compared; listing.go: output, compared
//	render.go     a difference, shown
//	runner.go     folders of recordings
//
// Nothing is executed on this machine. Fields that do not repeat (the IP ID of
// packets the director makes, the remaining seconds of a connection, the order
// of -Lc rows, rates) are masked; nothing else is. No recording is known by
// its name: what a machine was like is told by the recording.
package oracle
