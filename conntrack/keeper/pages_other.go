//go:build !linux

package keeper

// wantLargePages does nothing: the system decides.
func wantLargePages([]byte) {}
