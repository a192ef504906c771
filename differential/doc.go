// Package differential looks for differences between usvs and the kernel's
// ip_vs: it makes random scenarios that users could meet, has the real kernel
// play them (differential/uml, differential/stage), plays what came of each
// through usvs (oracle), and reduces every difference to the few steps that
// show it.
//
// A scenario is text in the language of the recordings under testdata/oracle,
// without answers; with the kernel's answers it is such a recording. The same
// area and seed make the same scenario everywhere; what the kernel answers
// decides the rest, so a run repeats as far as the kernel does.
package differential
