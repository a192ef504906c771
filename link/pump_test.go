package link_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/link"
	"usvs/link/linktest"
	"usvs/wire"
)

// handler is a Handler made of functions; the zero value drops everything.
type handler struct {
	handle func(now clock.Instant, batch []*link.Frame, out *link.Output)
	tick   func(now clock.Instant, out *link.Output) clock.Instant
}

func (h handler) Handle(now clock.Instant, batch []*link.Frame, out *link.Output) clock.Instant {
	if h.handle != nil {
		h.handle(now, batch, out)
	}
	return clock.Never
}

func (h handler) Tick(now clock.Instant, out *link.Output) clock.Instant {
	if h.tick == nil {
		return clock.Never
	}
	return h.tick(now, out)
}

// lab is a pump that reads near[0] and can write to all near devices; the test
// holds the far ends.
type lab struct {
	near, far []*linktest.Device
	log       bytes.Buffer
	pump      *link.Pump
	cancel    context.CancelFunc
	done      chan error
}

func start(t *testing.T, ports int, h link.Handler, change func(*link.PumpConfig)) *lab {
	t.Helper()
	l := &lab{done: make(chan error, 1)}
	cfg := link.PumpConfig{Handler: h, Clock: clock.NewSystem(), Log: slog.New(slog.NewTextHandler(&l.log, nil))}
	for i := range ports {
		near, far := linktest.NewPair(fmt.Sprint("eth", i), "far", wire.Ethernet)
		l.near, l.far = append(l.near, near), append(l.far, far)
		cfg.Writers = append(cfg.Writers, near.NewWriter())
	}
	cfg.Device = l.near[0]
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.pump, l.cancel = link.NewPump(cfg), cancel
	go func() { l.done <- l.pump.Run(ctx) }()
	return l
}

// stop ends the pump, which must happen at once.
func (l *lab) stop(t *testing.T) {
	t.Helper()
	began := time.Now()
	l.cancel()
	require.NoError(t, <-l.done)
	assert.LessOrEqual(t, time.Since(began), 100*time.Millisecond)
}

// received is the first byte of every frame d can read now.
func received(d *linktest.Device) (got []byte) {
	for f := d.Take(0); f != nil; f = d.Take(0) {
		got = append(got, f.Bytes()[0])
	}
	return got
}

func TestPumpGroupsByPortInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler{handle: func(_ clock.Instant, batch []*link.Frame, out *link.Output) {
			for _, f := range batch {
				assert.Equal(t, 7, f.Port, "frames carry the device's port")
				f.Port = int(f.Bytes()[1])
				out.Tx = append(out.Tx, f)
			}
		}}
		l := start(t, 3, h, func(cfg *link.PumpConfig) { cfg.Port = 7; cfg.Writers[1] = nil })
		for i, port := range []byte{2, 0, 1, 2, 3, 0, 2, 255} {
			require.NoError(t, l.near[0].InjectBytes([]byte{byte(i), port}))
		}
		synctest.Wait()
		assert.Equal(t, []byte{1, 5}, received(l.far[0]))
		assert.Equal(t, []byte{0, 3, 6}, received(l.far[2]))
		assert.EqualValues(t, 3, l.pump.Stats().Drops[link.DropNoPort])
		assert.EqualValues(t, 8, l.pump.Stats().RxFrames)
		l.stop(t)
	})
}

// Whatever the batches and ports, every port sees its frames in their order.
func TestPumpKeepsOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			h := handler{handle: func(_ clock.Instant, batch []*link.Frame, out *link.Output) {
				for _, f := range batch {
					f.Port = int(f.Bytes()[1])
					out.Tx = append(out.Tx, f)
				}
			}}
			l := start(t, 4, h, nil)
			want := make([][]byte, 4)
			for i := range 200 {
				port := rng.IntN(4)
				want[port] = append(want[port], byte(i))
				require.NoError(t, l.near[0].InjectBytes([]byte{byte(i), byte(port)}))
				if rng.IntN(20) == 0 {
					synctest.Wait()
				}
			}
			synctest.Wait()
			for port, d := range l.far {
				assert.Equal(t, want[port], received(d), "seed %d", seed)
			}
			l.stop(t)
		})
	}
}

func TestPumpHost(t *testing.T) {
	for _, withHost := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			hostNear, hostFar := linktest.NewPair("host", "stack", wire.Ethernet)
			h := handler{handle: func(_ clock.Instant, batch []*link.Frame, out *link.Output) {
				out.Host = append(out.Host, batch...)
			}}
			l := start(t, 1, h, func(cfg *link.PumpConfig) {
				if withHost {
					cfg.Host = hostNear.NewWriter()
				}
			})
			require.NoError(t, l.near[0].InjectBytes([]byte{9}))
			synctest.Wait()
			if withHost {
				assert.Equal(t, []byte{9}, received(hostFar))
			} else {
				assert.EqualValues(t, 1, l.pump.Stats().Drops[link.DropNoHost])
			}
			l.stop(t)
		})
	}
}

func TestPumpTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ticks []time.Duration
		h := handler{tick: func(now clock.Instant, out *link.Output) clock.Instant {
			ticks = append(ticks, time.Since(began))
			f := out.New()
			f.SetBytes([]byte{byte(len(ticks))})
			out.Tx = append(out.Tx, f)
			if len(ticks) == 4 {
				return clock.Never
			}
			return now.Add(time.Second)
		}}
		l := start(t, 1, h, nil)
		time.Sleep(1500 * time.Millisecond)
		l.near[0].Wake() // wants attention before the next second
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, []time.Duration{0, time.Second, 1500 * time.Millisecond, 2500 * time.Millisecond}, ticks)
		assert.Equal(t, []byte{1, 2, 3, 4}, received(l.far[0]), "what Tick puts out is sent")
		l.stop(t)
	})
}

// Frames that never cease do not keep a Tick from happening.
func TestPumpTicksUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ticks atomic.Int64
		var l *lab
		h := handler{
			handle: func(clock.Instant, []*link.Frame, *link.Output) {
				time.Sleep(10 * time.Millisecond)
				_ = l.near[0].InjectBytes([]byte{1})
			},
			tick: func(now clock.Instant, _ *link.Output) clock.Instant { ticks.Add(1); return now.Add(time.Second) },
		}
		l = start(t, 1, h, nil)
		synctest.Wait()
		require.NoError(t, l.near[0].InjectBytes([]byte{1}))
		time.Sleep(10*time.Second + time.Millisecond)
		assert.InDelta(t, 10, ticks.Load(), 1)
		l.stop(t)
	})
}

func TestPumpSurvivesReadErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ticks atomic.Int64
		h := handler{
			handle: func(_ clock.Instant, batch []*link.Frame, out *link.Output) { out.Tx = append(out.Tx, batch...) },
			tick: func(now clock.Instant, _ *link.Output) clock.Instant {
				ticks.Add(1)
				return now.Add(20 * time.Millisecond)
			},
		}
		l := start(t, 1, h, nil)
		for range 100 {
			l.near[0].FailRead(errors.New("the cable burns"))
		}
		time.Sleep(3 * time.Second)
		assert.Greater(t, ticks.Load(), int64(100), "ticks go on meanwhile")
		require.NoError(t, l.near[0].InjectBytes([]byte{5}))
		time.Sleep(time.Minute)
		assert.Equal(t, []byte{5}, received(l.far[0]))
		l.stop(t)
		lines := strings.Count(l.log.String(), "the cable burns")
		assert.GreaterOrEqual(t, lines, 2)
		assert.LessOrEqual(t, lines, 10, "one message a second")
	})
}

func TestPumpStopsDuringBackoffAndOnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, 1, handler{}, nil)
		for range 1000 {
			l.near[0].FailRead(errors.New("broken"))
		}
		time.Sleep(5 * time.Second)
		l.stop(t)

		l = start(t, 1, handler{}, nil)
		synctest.Wait()
		began := time.Now()
		require.NoError(t, l.near[0].Close())
		assert.NoError(t, <-l.done)
		assert.LessOrEqual(t, time.Since(began), 100*time.Millisecond)
		l.cancel()
	})
}

func TestPumpWriteErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler{handle: func(_ clock.Instant, batch []*link.Frame, out *link.Output) { out.Tx = append(out.Tx, batch...) }}
		l := start(t, 1, h, nil)
		l.near[0].FailWrites(func(f *link.Frame) error {
			if f.Bytes()[0]%2 == 0 {
				return errors.New("even frames are odd")
			}
			return nil
		})
		for i := range 10 {
			require.NoError(t, l.near[0].InjectBytes([]byte{byte(i)}))
			time.Sleep(250 * time.Millisecond)
		}
		assert.Equal(t, []byte{1, 3, 5, 7, 9}, received(l.far[0]))
		assert.EqualValues(t, 5, l.pump.Stats().Drops[link.DropUnsent])
		l.stop(t)
		assert.InDelta(t, 2.5, strings.Count(l.log.String(), "even frames are odd"), 1)
	})
}

func TestPumpNeedsItsParts(t *testing.T) {
	assert.Error(t, link.NewPump(link.PumpConfig{}).Run(t.Context()))
}

// The thread is prepared before the first frame, or nothing runs.
func TestPumpOnThread(t *testing.T) {
	order := []string{}
	dev := &loop{left: 1}
	cfg := link.PumpConfig{
		Device: dev, Clock: clock.NewSystem(), Writers: []link.Writer{dev},
		Handler: handler{
			handle: func(clock.Instant, []*link.Frame, *link.Output) { order = append(order, "handle") },
			tick: func(clock.Instant, *link.Output) clock.Instant {
				order = append(order, "tick")
				return clock.Never
			},
		},
		OnThread: func() error { order = append(order, "thread"); return nil },
	}
	run := func() error {
		done := make(chan error)
		go func() { done <- link.NewPump(cfg).Run(t.Context()) }()
		return <-done
	}
	require.NoError(t, run())
	assert.Equal(t, []string{"thread", "tick", "handle"}, order)

	order = nil
	cfg.OnThread = func() error { return errors.New("no such core") }
	assert.ErrorContains(t, run(), "no such core")
	assert.Empty(t, order)
}

// loop is a device that always has the same frames, and a writer for nothing.
type loop struct{ left int }

func (d *loop) Name() string                             { return "loop" }
func (d *loop) Medium() wire.Medium                      { return wire.Ethernet }
func (d *loop) Wake()                                    {}
func (d *loop) NewWriter() link.Writer                   { return d }
func (d *loop) Close() error                             { return nil }
func (d *loop) WriteBatch(fs []*link.Frame) (int, error) { return len(fs), nil }
func (d *loop) ReadBatch(fs []*link.Frame, _ time.Duration) (int, error) {
	if d.left == 0 {
		return 0, link.ErrClosed
	}
	d.left--
	for _, f := range fs {
		f.SetLen(64)
	}
	return len(fs), nil
}

// spread is the busiest handler: it sends to two ports and to the host, and
// ticks after every batch.
var spread = handler{
	handle: func(_ clock.Instant, batch []*link.Frame, out *link.Output) {
		for i, f := range batch {
			f.Port = i % 2
			if i%3 == 0 {
				out.Host = append(out.Host, f)
				continue
			}
			out.Tx = append(out.Tx, f)
		}
	},
	tick: func(now clock.Instant, out *link.Output) clock.Instant {
		out.Tx = append(out.Tx, out.New())
		return now
	},
}

// through is the usual handler: it sends everything to one port.
var through = handler{
	handle: func(_ clock.Instant, batch []*link.Frame, out *link.Output) {
		for _, f := range batch {
			f.Port = 1
			out.Tx = append(out.Tx, f)
		}
	},
	tick: func(now clock.Instant, out *link.Output) clock.Instant { return clock.Never },
}

func runLoop(dev *loop, h link.Handler, batches int) {
	dev.left = batches
	_ = link.NewPump(link.PumpConfig{
		Device: dev, Handler: h, Clock: clock.NewSystem(), Writers: []link.Writer{dev, dev}, Host: dev,
	}).Run(context.Background())
}

func TestPumpAllocatesNothingPerBatch(t *testing.T) {
	dev := &loop{}
	few := testing.AllocsPerRun(5, func() { runLoop(dev, spread, 10) })
	many := testing.AllocsPerRun(5, func() { runLoop(dev, spread, 1010) })
	assert.InDelta(t, few, many, 20, "1000 batches more")
}

// BenchmarkPump is what a pump itself takes for a frame.
func BenchmarkPump(b *testing.B) {
	for name, h := range map[string]handler{"one port": through, "two and the host": spread} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			runLoop(&loop{}, h, b.N)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*link.BatchSize), "ns/frame")
		})
	}
}
