package main

import (
	"fmt"
	"log/slog"

	"usvs/link"
	"usvs/link/afpacket"
)

// ioMethod is how frames of an interface are received.
type ioMethod string

// The words of --io.
const (
	ioAuto ioMethod = "auto"
	ioMmsg ioMethod = "mmsg"
	ioRing ioMethod = "ring"
)

func parseIO(s string) (ioMethod, error) {
	switch m := ioMethod(s); m {
	case ioAuto, ioMmsg, ioRing:
		return m, nil
	}
	return "", fmt.Errorf("--io %q: want auto, mmsg or ring", s)
}

// resolve says what a method means for an interface, and why. The measurements
// that auto follows are in docs/io.md: batched calls are the fastest for bulk
// TCP, and never far behind for small packets, whatever the core they run on.
func (m ioMethod) resolve() (method ioMethod, why string) {
	if m == ioAuto {
		return ioMmsg, "fastest for bulk TCP on any interface; see --io"
	}
	return m, "asked for with --io"
}

// openInterface opens an interface as --io says.
func openInterface(name string, io ioMethod, log *slog.Logger) (link.Device, error) {
	method, why := io.resolve()
	d, err := afpacket.Open(name, afpacket.Options{Ring: method == ioRing, Log: log})
	if err != nil {
		return nil, fmt.Errorf("--io %s: %w", io, err)
	}
	log.Info("interface opened", "interface", name, "io", string(method), "why", why)
	return d, nil
}
