package pcap

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"usvs/link"
	"usvs/wire"
)

// File is a recording.
type File struct {
	// Ended, if not nil, is told once what ended the recording early. It must not
	// wait, nor call the File.
	Ended func(error)

	now func() time.Time

	mu         sync.Mutex
	out        io.WriteCloser   // guarded by mu
	ng         *pcapgo.NgWriter // guarded by mu; nil until the first tap
	interfaces int              // guarded by mu
	err        error            // guarded by mu; what ended the recording
}

// Create creates or truncates the file at path.
func Create(path string) (*File, error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("pcap: %w", err)
	}
	return New(out, time.Now), nil
}

// New records to out, with the time that now tells.
func New(out io.WriteCloser, now func() time.Time) *File { return &File{out: out, now: now} }

// Tap returns d, recorded.
func (f *File) Tap(d link.Device) link.Device { return f.TapAll(d)[0] }

// TapAll returns the devices of one interface, recorded as one.
func (f *File) TapAll(ds ...link.Device) []link.Device {
	id := f.addInterface(ds[0].Name(), ds[0].Medium())
	taps := make([]link.Device, len(ds))
	for i, d := range ds {
		taps[i] = &device{Device: d, file: f, id: id}
	}
	return taps
}

// Err is what ended the recording early, if anything did.
func (f *File) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Close ends the recording and returns what went wrong with it. The tapped
// devices stay usable.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out == nil {
		return os.ErrClosed
	}
	err := f.out.Close()
	f.out, f.ng = nil, nil
	if f.err != nil {
		return f.err
	}
	return err
}

func (f *File) addInterface(name string, medium wire.Medium) (id int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id = f.interfaces
	f.interfaces++
	if f.out == nil || f.err != nil {
		return id
	}
	intf := ngInterface(name)
	if medium == wire.IP {
		intf.LinkType = layers.LinkTypeRaw
	}
	if f.ng == nil {
		f.ng, f.err = pcapgo.NewNgWriterInterface(f.out, intf, ngOptions())
	} else {
		_, f.err = f.ng.AddInterface(intf)
	}
	if f.err == nil {
		f.err = f.ng.Flush()
	}
	f.report()
	return id
}

// report tells of an error that has just ended the recording.
func (f *File) report() {
	if f.err != nil && f.Ended != nil {
		f.Ended(f.err)
	}
}

// record writes a batch that passed an interface.
func (f *File) record(id int, fs []*link.Frame) {
	if len(fs) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ng == nil || f.err != nil {
		return
	}
	f.err = f.write(id, fs)
	f.report()
}

func (f *File) write(id int, fs []*link.Frame) error {
	info := gopacket.CaptureInfo{Timestamp: f.now(), InterfaceIndex: id}
	for _, fr := range fs {
		info.CaptureLength, info.Length = fr.Len(), fr.Len()
		if err := f.ng.WritePacket(info, fr.Bytes()); err != nil {
			return err
		}
	}
	return f.ng.Flush()
}

// device is a tapped device.
type device struct {
	link.Device
	file *File
	id   int
}

// Unwrap returns the device behind the tap.
func (d *device) Unwrap() link.Device { return d.Device }

// Stats are the counters of the device behind the tap, if it has any.
func (d *device) Stats() link.Stats {
	if counting, ok := d.Device.(interface{ Stats() link.Stats }); ok {
		return counting.Stats()
	}
	return link.Stats{}
}

// ReadBatch implements link.Device.
func (d *device) ReadBatch(fs []*link.Frame, wait time.Duration) (int, error) {
	n, err := d.Device.ReadBatch(fs, wait)
	d.file.record(d.id, fs[:n])
	return n, err
}

// NewWriter implements link.Device.
func (d *device) NewWriter() link.Writer { return &writer{Writer: d.Device.NewWriter(), d: d} }

type writer struct {
	link.Writer
	d *device
}

// WriteBatch implements link.Writer. It records first: a device may complete
// checksums in place.
func (w *writer) WriteBatch(fs []*link.Frame) (int, error) {
	w.d.file.record(w.d.id, fs)
	return w.Writer.WriteBatch(fs)
}
