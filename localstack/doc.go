// Package localstack gives the few answers a director owes the network for an
// owned address that no host stack carries: echo replies, resets, and ICMP
// errors; and it builds the ICMP errors about packets the director forwards.
//
// It is pure: a parsed packet and the time come in, an answer is built into a
// frame the caller provides. It keeps no connection and listens on nothing.
// What it answers, and with which header fields, is what a Linux host does;
// testdata holds recordings of one. Known differences: IPv4 options of a
// request are neither recorded into nor returned, timestamp requests are not
// answered, IPv6 flow labels are 0, and an ICMPv6 redirect is never the
// subject of an error (RFC 4443 section 2.4 e.2).
//
// An answer may exceed the link's MTU, when it is a reply to a large echo
// request that was reassembled; the caller fragments it.
//
// A Stack and a Limiter may be shared by all workers: they hold atomics only.
package localstack
