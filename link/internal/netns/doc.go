// Package netns does things in the network namespace that a device was opened
// in, whatever thread asks for them later.
package netns
