// Package api is the local control socket: HTTP with JSON bodies over a Unix
// stream socket, its server and its client. docs/api.md describes it for
// programs that are not usvs.
//
// Serve makes an ipvsadm.Backend and a few more calls reachable; a Client is
// such a Backend again, and errors keep the identity of their sentinel on the
// way. The package translates; it decides nothing about services.
//
// # Who may talk
//
// Anyone may connect to, and anyone may bind, an abstract socket name, so both
// sides ask the kernel who the other one is. The server obeys root and its own
// user, the client root's server and its own user's.
//
// # Files
//
//	message.go  the JSON forms of package ipvs
//	errors.go   errors on the wire
//	listen.go   addresses, listening, who may talk
//	peer_*.go   asking the kernel who the peer is
//	server.go   endpoints
//	sysctl.go   settings, at both ends
//	proc.go     the files of /proc/net, at both ends
//	connections.go  the connection table, written and read by hand
//	stream.go   answers of unknown length: one JSON value per line
//	batch.go    many changes in one exchange, at both ends
//	batchtext.go their text, written and read by hand
//	client.go   the other side of it all; dial_in.go: from another network namespace
//
// # Invariants
//
//   - Requests are bounded in size and time; no body makes a handler panic.
//   - No lock is held while anything is written to a client.
//   - A stream that does not end with its end mark was cut short.
package api
