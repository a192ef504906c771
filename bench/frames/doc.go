// Package frames is the suite io: how many frames a second pass through usvs
// and its peers, and what they cost.
//
//	scenes.go         what is measured: frames, flows, placement, contenders, targets
//	ladder.go         the search for the best rate
//	suite_linux.go    rounds, and figures of them
//	measure_linux.go  one measurement of one contender
//
// Pinned: the core that handles what the director receives is the core its
// program runs on, and the load has the other. Free: the load's core handles
// what the director receives, and the program has the other.
//
// Pinned, receive packet steering moves what the director's interface receives.
// A native XDP program comes before it: with one, and with others for comparison,
// a kernel thread receives (threaded NAPI) that is kept on the core and shares it
// with the program as any two threads would. A veth copies each frame once more
// for a native XDP program.
//
// Every figure is a ratio, and what it is a ratio of was measured seconds before
// or after, in every round. A contender that does not work is listed with the
// reason, and the others go on.
package frames
