// Package chaos asks what a keepalived.conf is worth: it builds the network
// that one or two of them imply in the simulator, breaks things at random, and
// looks whether what their timers promise is kept.
//
// The way of a run:
//
//   - NewLab (lab*.go) reads the configurations into a Lab: networks, directors,
//     real servers, a router and clients. What the files do not say is
//     assumed, and the assumptions are listed.
//   - Bounds (bounds.go) are the times that the configurations promise.
//   - Generate (generate.go) makes a Schedule of Faults (fault.go) of a seed.
//   - Play (play*.go) builds the Lab in netsim, with clients that ask every
//     service all the time, and returns a History: who was master when, what
//     became of every request, what the directors logged.
//   - Judge (judge*.go) holds the History against the Bounds. A Violation is
//     explained (explain*.go) by the lines of the configurations that are to
//     blame, and its Schedule is shrunk (shrink.go) to the faults it takes.
//   - Run plays many seeds; the Report (report.go, page.go) tells of them.
//
// Lab, Bounds, Generate, Judge and explanations are pure. Everything is a
// function of the configurations and the seed: the same seed gives the same
// History. Run plays seeds in goroutines, each with a network of its own; their
// results are put together in the order of the seeds.
package chaos
