//go:build race

package integration

// buildFlags for the program: tests with the race detector test one with it.
var buildFlags = []string{"-race"}

// raceEnabled: everything takes several times as long.
const raceEnabled = true
