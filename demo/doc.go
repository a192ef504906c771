// Package demo is what `usvs demo` shows: real HTTP requests that reach real
// servers through a virtual address, once by direct routing, once by NAT and
// once by tunnelling, in networks of its own.
//
// Every machine of a network is a network namespace; web servers, the director
// and every command are processes of this same program, run there as an
// operator would run them. Run starts the whole thing in namespaces of its own
// (a user namespace too when not root), so that the host's network stays as it
// is and everything is gone when the demo ends, however it ends. No program has
// to be installed, and neither /dev/net/tun nor /run/netns is needed.
//
// The demo judges as well as shows: it fails unless every scheduler gave every
// real server exactly the share its weight calls for, and the frames that the
// director's trace shows were changed as the forwarding method changes them.
//
// It must not know what a director does inside: it sees what an operator can
// see, what the commands print, `usvs trace` among them.
package demo
