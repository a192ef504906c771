//go:build !parkpoints

package conntrack

// step marks a point just before an atomic step that others can see. It does
// nothing, except under the build tag parkpoints, where a test can stop a
// goroutine there.
func step(string) {}

// rackBits is how many bits choose a line of a rack.
const rackBits = 8
