// Package engine is the suite of the director's frame path, without any
// device: what a frame of an established connection costs with each forwarding
// method, what a new connection does, and what very many services and edits
// change about it. Frames come in batches of link.BatchSize, as from a device.
//
// Only the director's own work is timed, not the making of frames.
package engine
