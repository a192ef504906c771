//go:build !linux

package main

// enterWorld has nothing to do: there is only the simulation, and opening any
// other world says so.
func enterWorld(string) (status int, done bool, err error) { return 0, false, nil }
