package linktest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/wire"
)

var _ link.Device = (*Device)(nil)

func batch(n, size int) []*link.Frame {
	fs := make([]*link.Frame, n)
	for i := range fs {
		fs[i] = wire.NewFrame(size)
	}
	return fs
}

func TestPairCarriesFramesAndMetadata(t *testing.T) {
	a, b := NewPair("a", "b", wire.IP)
	assert.Equal(t, "a", a.Name())
	assert.Equal(t, wire.IP, a.Medium())
	out := batch(3, 100)
	for i, f := range out {
		f.SetBytes([]byte{byte(i), 1, 2, 3})
		f.GSO, f.GSOSize, f.Partial, f.CsumStart = wire.GSOTCP4, 1448, true, 2
	}
	sent, err := a.NewWriter().WriteBatch(out)
	require.NoError(t, err)
	assert.Equal(t, 3, sent)

	in := batch(2, 100)
	n, err := b.ReadBatch(in, 0)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	assert.Equal(t, []byte{1, 1, 2, 3}, in[1].Bytes())
	assert.Equal(t, wire.GSOTCP4, in[1].GSO)
	assert.True(t, in[1].Partial)
	assert.Equal(t, wire.IP, in[1].Medium)
	assert.Equal(t, []byte{2, 1, 2, 3}, b.Take(0).Bytes())
	assert.Nil(t, b.Take(0))
	assert.EqualValues(t, 3, b.Stats().RxFrames)
	assert.EqualValues(t, 12, a.Stats().TxBytes)
}

func TestWaitWakeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := NewPair("a", "b", wire.Ethernet)
		fs := batch(1, 100)
		start := time.Now()
		n, err := a.ReadBatch(fs, time.Second)
		assert.Zero(t, n)
		assert.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(start))

		time.AfterFunc(time.Second, a.Wake)
		_, err = a.ReadBatch(fs, -1)
		assert.NoError(t, err)
		assert.Equal(t, 2*time.Second, time.Since(start))

		time.AfterFunc(time.Second, func() { a.Close() })
		_, err = a.ReadBatch(fs, -1)
		assert.ErrorIs(t, err, link.ErrClosed)
		_, err = a.NewWriter().WriteBatch(fs)
		assert.ErrorIs(t, err, link.ErrClosed)
		assert.ErrorIs(t, a.Close(), link.ErrClosed)
	})
}

func TestFaults(t *testing.T) {
	a, b := NewPair("a", "b", wire.Ethernet)
	boom := errors.New("boom")
	a.FailRead(boom)
	_, err := a.ReadBatch(batch(1, 10), 0)
	assert.ErrorIs(t, err, boom)

	a.FailWrites(func(f *link.Frame) error {
		if f.Len() > 5 {
			return boom
		}
		return nil
	})
	fs := batch(2, 10)
	fs[0].SetLen(6)
	fs[1].SetLen(5)
	sent, err := a.NewWriter().WriteBatch(fs)
	assert.Equal(t, 1, sent)
	assert.ErrorIs(t, err, boom)
	a.FailWrites(nil)
	sent, err = a.NewWriter().WriteBatch(fs)
	assert.Equal(t, 2, sent)
	assert.NoError(t, err)

	n, err := b.ReadBatch(batch(4, 5), 0)
	require.NoError(t, err)
	assert.Equal(t, 2, n, "the frame of 6 bytes does not fit into 5")
	assert.EqualValues(t, 1, b.Stats().Drops[link.DropTruncated])
}

func TestFullQueue(t *testing.T) {
	a, b := NewPair("a", "b", wire.Ethernet)
	for range QueueLen {
		require.NoError(t, b.InjectBytes([]byte{1}))
	}
	fs := batch(1, 10)
	fs[0].SetLen(1)
	_, err := a.NewWriter().WriteBatch(fs)
	assert.ErrorIs(t, err, ErrFull)
	assert.EqualValues(t, 1, b.Stats().Drops[link.DropOverrun])
	assert.EqualValues(t, 1, a.Stats().Drops[link.DropNoBuffer])
}
