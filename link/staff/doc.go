// Package staff decides how many of several workers are given frames.
//
// A worker more is worth something only if those who work have no time left while
// a CPU idles; on that CPU the kernel may be about to need the time itself, for
// its half of the work. That cannot be known beforehand, so it is tried: with a worker more or
// less what is forwarded is compared, and the better is kept. What did not help is
// tried again after ever longer pauses.
//
// While one is alone, what it has to do is small and one CPU receives it, that
// worker is told to keep off that CPU and to let others finish (Manners).
//
// It does nothing itself: readings go in, a number comes out. It reads no clock and
// starts nothing; time comes in as readings.
package staff
