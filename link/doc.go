// Package link joins a director to its network interfaces: Device is what a
// backend offers, Pump the only loop that touches both a device and the clock.
package link
