// Package bench is how usvs is measured: figures with their targets, rounds,
// medians, and reports of them as text, Markdown, JSON and a picture. What is
// measured is in the packages below it, one suite each; `usvs bench` runs them.
//
//	figure.go   a Figure: its rounds, its targets, and the verdict
//	suite.go    what a suite is given, and how rounds are taken
//	report.go   figures with where, when and how they were measured
//	machine.go  the machine
//	text.go     a table for the terminal
//	markdown.go RESULTS.md
//	svg.go      results.svg
//	part.go     what has to be a process of its own
//	time.go, process.go, pace.go  how long, how much memory, how fast a machine
//
// # What makes a figure worth quoting
//
//   - Where something is compared, both are measured in every round, one after
//     the other. What the machine does besides then meets both, and the figure
//     is the median of the rounds' ratios, not the ratio of two medians.
//   - The smallest and the largest round stand beside the median.
//   - A target is written down before the measurement: the floor is what must
//     be reached, the aim what is wanted.
//   - What could not be measured is listed, with the reason.
//
// The package opens no socket and changes nothing of the machine, and starts no
// process but its own program again. Reports
// depend on their figures only: the same figures give the same bytes.
package bench
