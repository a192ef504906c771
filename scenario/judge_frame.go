package scenario

import (
	"fmt"
	"strings"
	"time"
)

// judgeFrames counts the frames at an interface that fit. A frame that should
// be there and is not gets a moment to arrive.
func (r *run) judgeFrames(x *ExpectFrame) error {
	if x.Count != nil && x.Count.Min == 0 {
		return r.countFrames(x)
	}
	return r.retry(func() error { return r.countFrames(x) })
}

func (r *run) countFrames(x *ExpectFrame) error {
	frames, err := r.world.Frames(x.At)
	if err != nil {
		return err
	}
	after := r.since(x.After)
	var fit, near []string
	for _, f := range frames {
		if f.At < after || x.Dir != Both && f.Dir != x.Dir {
			continue
		}
		v, ok := look(f.Data)
		if !ok || !x.Match.concerns(&v) {
			continue
		}
		text := fmt.Sprintf("%v %s: %s", f.At, f.Dir, describe(f.Data, &r.file.Topology))
		if differs := x.Match.differs(&v); differs != "" {
			near = append(near, text+"\n    "+differs)
			continue
		}
		fit = append(fit, text)
	}
	return x.verdict(fit, near, len(frames))
}

// since is the time that `after` means.
func (r *run) since(after string) time.Duration {
	if at, ok := r.moments[after]; ok {
		return at
	}
	d, _ := time.ParseDuration(after) // the parser has seen to it; empty is zero
	return d
}

// verdict compares the number of fitting frames with what is wanted.
func (x *ExpectFrame) verdict(fit, near []string, all int) error {
	want := Range{1, unbounded}
	if x.Count != nil {
		want = *x.Count
	}
	switch {
	case want.Has(len(fit)):
		return nil
	case len(fit) > 0:
		return unmetf("%d frames fit, not %v%s", len(fit), want, wrote(sample(fit)))
	case len(near) > 0:
		return unmetf("no frame fits; nearest%s", wrote(sample(near)))
	}
	return unmetf("no frame fits, among %d at %v", all, x.At)
}

// sample is the first lines of a list.
func sample(list []string) string {
	const most = 5
	if len(list) > most {
		list = append(list[:most:most], fmt.Sprintf("... and %d more", len(list)-most))
	}
	return strings.Join(list, "\n")
}
