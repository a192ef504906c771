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
// Frames reach every director over a hop on which receive packet steering moves
// them (bench/lab.Line). On the director's core the hop is part of the cost of a
// frame, as a driver's receive path would be, and it is paid for frames that are
// dropped, too: what a director delivers of too much is less here than behind a
// network card. A veth copies each frame once more for a native XDP program.
//
// Every figure is a ratio, and what it is a ratio of was measured seconds before
// or after, in every round. A contender that does not work is listed with the
// reason, and the others go on.
package frames
