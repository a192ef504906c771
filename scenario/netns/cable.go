package netns

import (
	"time"

	"usvs/scenario"
)

// overtaken is how long a frame is held back that others shall overtake.
const overtaken = 5 * time.Millisecond

// change sets what a machine's cable does.
func (f *fabric) change(machine scenario.Interface, to scenario.LinkState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.plugOf(machine); p != nil {
		p.link = to
	}
}

// plugOf is the plug of a machine's interface, nil if there is none.
func (f *fabric) plugOf(machine scenario.Interface) *plug {
	for _, p := range f.plugs {
		if p.machine == machine {
			return p
		}
	}
	return nil
}

// seen are the frames that passed an interface so far.
func (f *fabric) seen(machine scenario.Interface) []scenario.Frame {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.plugOf(machine); p != nil {
		return append([]scenario.Frame(nil), p.frames...)
	}
	return nil
}

// cross puts a frame on a cable, with everything that the cable does to it.
func (f *fabric) cross(p *plug, dir scenario.Direction, data []byte) {
	s := &p.link
	cut := s.Down || dir == scenario.In && s.CutIn || dir == scenario.Out && s.CutOut
	if cut || f.happens(s.Loss) {
		return
	}
	copies := 1
	if f.happens(s.Duplicate) {
		copies = 2
	}
	for range copies {
		f.take(p, dir, f.damaged(s, data), f.travel(p, dir, len(data)))
	}
}

// happens draws whether something of that probability does.
func (f *fabric) happens(probability float64) bool {
	return probability > 0 && f.draw.Float64() < probability
}

// damaged is the frame, or a copy of it with one bit turned.
func (f *fabric) damaged(s *scenario.LinkState, data []byte) []byte {
	if !f.happens(s.Corrupt) {
		return data
	}
	data = append([]byte(nil), data...)
	bit := f.draw.IntN(8 * len(data))
	data[bit/8] ^= 1 << (bit % 8)
	return data
}

// travel is how long a frame takes: to be put on the cable, behind those that
// are being put on it, and to get to its end.
func (f *fabric) travel(p *plug, dir scenario.Direction, size int) time.Duration {
	s := &p.link
	wait := s.Delay
	if s.Jitter > 0 {
		wait += time.Duration(f.draw.Int64N(int64(s.Jitter)))
	}
	if f.happens(s.Reorder) {
		wait += overtaken
	}
	if s.Rate > 0 {
		now := f.now()
		p.busy[dir] = max(p.busy[dir], now) + time.Duration(uint64(size)*8*uint64(time.Second)/s.Rate)
		wait += p.busy[dir] - now
	}
	return wait
}
