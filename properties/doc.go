// Package properties holds no code, only tests of what must hold for every
// frame and every state, whatever the recordings happen to show:
//
//   - the state machines of TCP and SCTP, every state by every event, against
//     a table that was written down apart from them;
//   - every frame that leaves a director, judged byte by byte from the frame
//     that came in, and by gopacket.
//
// Frames go through the production director.Worker. The judges share nothing
// with it: they compute lengths, checksums, segments and fragments slowly, as
// the RFCs say it.
//
// `go test` runs a slice of each; USVS_LONG=1, as in `make properties`, runs a
// million frames of each kind.
package properties
