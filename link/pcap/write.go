package pcap

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// Seen is a frame that passed an interface: of Write's, by number.
type Seen struct {
	Interface int
	At        time.Time
	Data      []byte
	Len       int // before it was cut to Data, if it was
}

// Write writes frames that were seen at named Ethernet interfaces as a file.
func Write(out io.Writer, interfaces []string, frames []Seen) error {
	if len(interfaces) == 0 {
		return fmt.Errorf("pcap: no interfaces")
	}
	ng, err := pcapgo.NewNgWriterInterface(out, ngInterface(interfaces[0]), ngOptions())
	if err != nil {
		return fmt.Errorf("pcap: %w", err)
	}
	for _, name := range interfaces[1:] {
		if _, err := ng.AddInterface(ngInterface(name)); err != nil {
			return fmt.Errorf("pcap: %w", err)
		}
	}
	for _, f := range frames {
		info := gopacket.CaptureInfo{Timestamp: f.At, InterfaceIndex: f.Interface, CaptureLength: len(f.Data), Length: f.Len}
		if err := ng.WritePacket(info, f.Data); err != nil {
			return fmt.Errorf("pcap: %w", err)
		}
	}
	return ng.Flush()
}

func ngInterface(name string) pcapgo.NgInterface {
	return pcapgo.NgInterface{Name: name, OS: runtime.GOOS, LinkType: layers.LinkTypeEthernet, TimestampResolution: 9}
}

func ngOptions() pcapgo.NgWriterOptions {
	return pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
		Hardware: runtime.GOARCH, OS: runtime.GOOS, Application: "usvs"}}
}
