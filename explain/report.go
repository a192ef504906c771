package explain

import (
	"fmt"
	"io"
	"strings"

	"usvs/wire"
)

// Report is the answer about some packets.
type Report struct {
	Network []string `json:"network,omitempty"` // what was made up
	Frames  []Frame  `json:"frames"`
}

// Frame is the answer about one frame.
type Frame struct {
	Packet  string   `json:"packet"`
	Arrives string   `json:"arrives"`
	Stages  []Stage  `json:"stages"`
	Verdict string   `json:"verdict"` // the reason's name, as `usvs status` counts it
	Meaning string   `json:"meaning"`
	Drop    bool     `json:"drop,omitempty"`
	Server  string   `json:"server,omitempty"`
	Sent    []string `json:"sent,omitempty"` // what left because of it, a line each
}

// Stage is one stage of the pipeline.
type Stage struct {
	Name  string   `json:"name"`
	Lines []string `json:"lines"`
}

// Request asks about packets, in this order: those that are written, then those
// that were captured.
type Request struct {
	Packets   []string   `json:"packets,omitempty"`
	Frames    []Captured `json:"frames,omitempty"`
	Interface string     `json:"interface,omitempty"` // "": the one that leads to the packet's source
}

// Captured is a frame as it was captured.
type Captured struct {
	Data   []byte      `json:"data"`
	Medium wire.Medium `json:"medium"`
}

// maxFrames bounds what is answered at once: for each frame a running
// director's connections are looked through.
const maxFrames = 1000

// Answer explains what q asks about.
func (b *Bench) Answer(q *Request) (*Report, error) {
	if n := len(q.Packets) + len(q.Frames); n > maxFrames {
		return nil, fmt.Errorf("%d packets are too many to explain at once: at most %d", n, maxFrames)
	}
	r := &Report{Network: b.network}
	for _, text := range q.Packets {
		p, err := ParsePacket(text)
		if err != nil {
			return nil, err
		}
		frames, err := b.Explain(&p, q.Interface)
		if err != nil {
			return nil, err
		}
		r.Frames = append(r.Frames, frames...)
	}
	for _, c := range q.Frames {
		f, err := b.ExplainFrame(c.Data, c.Medium, q.Interface)
		if err != nil {
			return nil, err
		}
		r.Frames = append(r.Frames, f)
	}
	return r, nil
}

// nameWidth is as wide as the longest stage's name.
const nameWidth = 11

// WriteTo writes the report as text.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, line := range r.Network {
		fmt.Fprintf(&b, "network: %s\n", line)
	}
	for i := range r.Frames {
		if i > 0 || len(r.Network) > 0 {
			b.WriteByte('\n')
		}
		r.Frames[i].write(&b)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (f *Frame) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s\n", f.Packet)
	stages := append([]Stage{{"arrives", []string{f.Arrives}}}, f.Stages...)
	stages = append(stages, Stage{"verdict", []string{f.Verdict + ": " + f.Meaning}})
	for _, s := range stages {
		name := s.Name
		for _, line := range s.Lines {
			fmt.Fprintf(b, "  %-*s  %s\n", nameWidth, name, line)
			name = ""
		}
	}
}
