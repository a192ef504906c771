//go:build !linux

package main

// platformSuites are those that need Linux.
func platformSuites() []benchSuite { return nil }
