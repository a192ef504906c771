package pcap

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/wire"
)

var start = time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)

// buffer is a file in memory that can be full.
type buffer struct {
	bytes.Buffer
	limit  int
	closed bool
}

var errFull = errors.New("disk full")

func (b *buffer) Write(p []byte) (int, error) {
	if b.limit > 0 && b.Len()+len(p) > b.limit {
		return 0, errFull
	}
	return b.Buffer.Write(p)
}

func (b *buffer) Close() error { b.closed = true; return nil }

func frames(packets ...[]byte) (fs []*link.Frame) {
	for _, p := range packets {
		f := wire.NewFrame(max(len(p), 100))
		f.SetBytes(p)
		fs = append(fs, f)
	}
	return fs
}

// packet is what a reader of the file sees.
type packet struct {
	intf string
	link layers.LinkType
	data string
}

func readBack(t *testing.T, r io.Reader) (ps []packet) {
	t.Helper()
	opts := pcapgo.DefaultNgReaderOptions
	opts.WantMixedLinkType = true
	ng, err := pcapgo.NewNgReader(r, opts)
	require.NoError(t, err)
	for {
		data, info, err := ng.ReadPacketData()
		if err == io.EOF {
			return ps
		}
		require.NoError(t, err)
		assert.True(t, info.Timestamp.Equal(start), "%v", info.Timestamp)
		intf, err := ng.Interface(info.InterfaceIndex)
		require.NoError(t, err)
		ps = append(ps, packet{intf.Name, intf.LinkType, string(data)})
	}
}

func TestBothDirectionsOfSeveralDevices(t *testing.T) {
	out := &buffer{}
	file := New(out, func() time.Time { return start })
	eth, _ := linktest.NewPair("eth0", "x", wire.Ethernet)
	tun, tunFar := linktest.NewPair("tun0", "y", wire.IP)
	tappedEth, tappedTun := file.Tap(eth), file.Tap(tun)
	assert.Equal(t, "eth0", tappedEth.Name())
	assert.Same(t, link.Device(eth), tappedEth.(interface{ Unwrap() link.Device }).Unwrap())

	require.NoError(t, eth.InjectBytes([]byte("in")))
	n, err := tappedEth.ReadBatch(frames(nil, nil), 0)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.EqualValues(t, 1, tappedEth.(interface{ Stats() link.Stats }).Stats().RxFrames)
	super := bytes.Repeat([]byte("s"), 65000)
	sent, err := tappedTun.NewWriter().WriteBatch(frames([]byte("out"), super, nil))
	require.NoError(t, err)
	assert.Equal(t, 3, sent)
	assert.Equal(t, "out", string(tunFar.Take(0).Bytes()), "it was sent, too")
	n, err = tappedEth.ReadBatch(frames(nil), 0)
	require.NoError(t, err)
	assert.Zero(t, n)

	want := []packet{
		{"eth0", layers.LinkTypeEthernet, "in"},
		{"tun0", layers.LinkTypeRaw, "out"},
		{"tun0", layers.LinkTypeRaw, string(super)},
		{"tun0", layers.LinkTypeRaw, ""},
	}
	assert.Equal(t, want, readBack(t, bytes.NewReader(out.Bytes())), "complete before it is closed")
	require.NoError(t, file.Close())
	assert.True(t, out.closed)
	assert.ErrorIs(t, file.Close(), os.ErrClosed)
	_, err = tappedTun.NewWriter().WriteBatch(frames([]byte("later")))
	assert.NoError(t, err, "devices outlive the recording")
}

func TestFullDiskEndsTheRecordingOnly(t *testing.T) {
	for _, limit := range []int{1, 150, 1000} {
		out := &buffer{limit: limit}
		file := New(out, func() time.Time { return start })
		var told []error
		file.Ended = func(err error) { told = append(told, err) }
		near, far := linktest.NewPair("eth0", "x", wire.Ethernet)
		w := file.Tap(near).NewWriter()
		for range 100 {
			sent, err := w.WriteBatch(frames(make([]byte, 60)))
			require.NoError(t, err)
			require.Equal(t, 1, sent)
			require.NotNil(t, far.Take(0))
		}
		assert.ErrorIs(t, file.Err(), errFull)
		_ = file.Tap(near) // does no harm
		require.Len(t, told, 1)
		assert.ErrorIs(t, told[0], errFull)
		assert.ErrorIs(t, file.Close(), errFull)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcapng")
	file, err := Create(path)
	require.NoError(t, err)
	file.now = func() time.Time { return start }
	near, _ := linktest.NewPair("eth0", "x", wire.Ethernet)
	_, err = file.Tap(near).NewWriter().WriteBatch(frames([]byte("a frame")))
	require.NoError(t, err)
	require.NoError(t, file.Close())
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	assert.Equal(t, []packet{{"eth0", layers.LinkTypeEthernet, "a frame"}}, readBack(t, f))

	_, err = Create(filepath.Join(path, "impossible"))
	assert.ErrorContains(t, err, "pcap:")
}

func TestConcurrentTaps(t *testing.T) {
	out := &buffer{}
	file := New(out, func() time.Time { return start })
	var wg sync.WaitGroup
	for range 4 {
		near, _ := linktest.NewPair("eth", "x", wire.Ethernet)
		tapped := file.Tap(near)
		for range 2 {
			wg.Go(func() {
				w := tapped.NewWriter()
				for range 50 {
					_, _ = w.WriteBatch(frames([]byte("12345"), []byte("678")))
				}
			})
		}
	}
	wg.Wait()
	assert.Len(t, readBack(t, bytes.NewReader(out.Bytes())), 4*2*50*2)
}
