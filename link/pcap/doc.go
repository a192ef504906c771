// Package pcap records what passes the devices of a director in one pcapng file,
// for Wireshark and tcpdump.
//
// A File taps any number of devices; each becomes an interface of the file,
// under its name. A tapped device records the frames its readers were given and
// those its writers were asked to send, as they were: unfinished checksums and
// super-frames are recorded unfinished and whole. What was asked to be sent and
// then refused is recorded too.
//
// It is a tool for looking at things: every batch takes the file's one mutex and
// is written out at once, so that a crash costs nothing of it. When the file
// cannot be written the recording ends, which File.Ended is told; the frames go on.
package pcap
