package afpacket

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
)

// onOneCore keeps the calling thread, and with it what the kernel does for the
// frames it sends, on one core.
func onOneCore(b *testing.B) {
	var set unix.CPUSet
	set.Set(0)
	require.NoError(b, unix.SchedSetaffinity(0, &set))
}

// What it costs to send a frame, its way to the other end of the wire included.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{60, 1514} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			netnstest.Bench(b, func(b *testing.B, lab *netnstest.Lab) {
				onOneCore(b)
				nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
				veth(lab, nsA, nsB)
				d := openIn(b, nsA, "eth0", Options{})
				w, fs := d.NewWriter(), linktest.Batch(link.BatchSize)
				for i := range fs {
					fs[i].CopyFrom(raw(macA, macB, i, size))
				}
				b.ResetTimer()
				for n := 0; n < b.N; n += len(fs) {
					_, err := w.WriteBatch(fs)
					require.NoError(b, err)
				}
			})
		})
	}
}

// What it costs to receive a frame that waits, its way into the socket excluded.
func BenchmarkReceive(b *testing.B) {
	for _, way := range []string{"mmsg", "ring"} {
		for _, size := range []int{60, 1514} {
			b.Run(fmt.Sprint(way, size), func(b *testing.B) {
				netnstest.Bench(b, func(b *testing.B, lab *netnstest.Lab) {
					onOneCore(b)
					overRing = way == "ring"
					_, _, from, to := wirePair(b, lab, Options{}, Options{})
					w, fs, got := from.NewWriter(), linktest.Batch(link.BatchSize), linktest.Batch(link.BatchSize)
					for i := range fs {
						fs[i].CopyFrom(raw(macA, macB, i, size))
					}
					const waiting = 1024
					b.ResetTimer()
					for n := 0; n < b.N; n += waiting {
						b.StopTimer()
						for range waiting / link.BatchSize {
							_, err := w.WriteBatch(fs)
							require.NoError(b, err)
						}
						b.StartTimer()
						for k := 0; k < waiting; {
							m, err := to.ReadBatch(got, 0)
							require.NoError(b, err)
							k += m
						}
					}
				})
			})
		}
	}
}
