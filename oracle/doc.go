// Package oracle plays recordings of a real Linux ip_vs through usvs and says
// where the two differ: which server each packet reached, every frame the
// director emitted, every line ipvsadm printed.
//
// A recording is a text file, one step a line: commands, frames, pauses, and
// what came of each. The director under test is the production one, in virtual
// time; commands run through the production control and ipvsadm. Around it
// stands a host as the recordings had it: two Ethernet links, routes, static
// neighbours, and a stack that answers and forwards what the director declines.
//
// Nothing is executed on this machine. Fields that do not repeat (the IP ID of
// packets the director makes, the remaining seconds of a connection, the order
// of -Lc rows) are masked; nothing else is.
package oracle
