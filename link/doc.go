// Package link joins a director to its network interfaces: Device is what a
// backend offers, Pump the only loop that touches both a device and the clock.
//
// One Pump drives one Device. It reads a batch, reads the clock once, has the
// Handler look at the batch, sends what came out of it and sleeps until the
// next frame or the Handler's next deadline. A Pump writes to every device
// with writers of its own, so pumps share no state but the devices' counters.
//
// Frames are allocated once and reused. Between Handle and the next ReadBatch
// they belong to the Pump; a Handler or a Writer keeps none past its call. The
// loop allocates nothing per batch and takes no lock.
//
// A device's frames leave in the order in which the Handler listed them for
// that device; there is no order between devices.
//
// Nothing here decides what happens to a frame. What a device or a pump cannot
// pass on is dropped and counted under a Drop reason.
//
// The backends are link/afpacket, link/afxdp, link/tun and, in memory,
// link/linktest; link/pcap wraps any of them; link/vnet translates the offload
// metadata.
package link
