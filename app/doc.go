// Package app reads the two application protocols that a director has to
// understand: FTP control connections, which announce addresses of further
// connections, and SIP, whose calls are told apart by their Call-ID.
//
// It is text in, values and text out: no packets, no connections, no state, no
// clock. What is split over several segments is not recognised, as in the
// kernel; neither is anything that is not exactly of a form listed here, and
// what is not recognised is left alone. Input may be hostile: nothing panics,
// and one pass over the text is all that any function makes.
//
// Behaviour follows ipvs.md 2.5 (SIP) and 5.8 (FTP), with the stricter number
// ranges of newer kernels, and nothing allocates but Announce.
package app
