package differential

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"usvs/differential/stage"
	"usvs/oracle"
	"usvs/wire"
)

// drift is how much time steps may take, in the recording, without being waits.
const drift = 100 * time.Millisecond

// recorder writes a recording.
type recorder struct {
	strings.Builder
	full  bool
	begun bool          // a step that is no set-up was written
	told  time.Duration // the time that the waits written so far account for
}

// record writes a scenario with the kernel's answers. Time that steps took is
// written as waits of their own when it has become noticeable; waits are as long
// as they were.
func (s Scenario) record(steps []int, a stage.Answer) string {
	b := recorder{full: true}
	fmt.Fprintf(&b, "# %s\n", s.Name())
	next, now := 0, time.Duration(0)
	for i, line := range s.Lines {
		if next >= len(steps) || steps[next] != i {
			if line == "brief" || line == "full" {
				b.full = line == "full"
			}
			b.WriteString(line + "\n")
			continue
		}
		r := a.Results[next]
		next++
		b.step(line, r, now)
		now = r.End
	}
	b.WriteString("# end\n")
	return b.String()
}

// step writes one step that began at a time.
func (b *recorder) step(line string, r stage.Result, began time.Duration) {
	if line[0] == '%' {
		b.WriteString(line + "\n")
		if !b.begun {
			b.told = r.End // set-up takes long, and nothing depends on time yet
		}
		return
	}
	if !b.begun {
		began += stage.Settling
		b.begun, b.told = true, began
	}
	began += r.Waited
	if line[0] == '@' {
		began = r.End
	}
	if line[0] == '@' || began-b.told > drift {
		fmt.Fprintf(b, "@ %s\n", seconds(began-b.told))
		b.told = began
	}
	switch {
	case r.Refused:
		b.WriteString("# longer than the link takes: " + line + "\n")
	case line[0] == '@':
		b.frames(r.Frames)
	case line[0] == '$':
		b.WriteString(line + "\n")
		b.text('|', r.Out)
		b.text('!', r.Err)
		fmt.Fprintf(b, "= %d\n", r.Exit)
	case line[0] == '>':
		b.WriteString(line + "\n")
		b.frames(r.Frames)
	default:
		b.macro(line, r)
	}
}

// seconds writes a time as recordings have it, to the millisecond.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Round(time.Millisecond).Seconds(), 'f', -1, 64)
}

// text writes the lines that a command printed.
func (b *recorder) text(mark byte, text string) {
	for line := range strings.Lines(text) {
		whole := strings.HasSuffix(line, "\n")
		fmt.Fprintf(b, "%c%s\n", mark, strings.TrimSuffix(line, "\n"))
		if !whole {
			fmt.Fprintf(b, "%c\\\n", mark)
		}
	}
}

func (b *recorder) frames(frames []stage.Emission) {
	for _, f := range frames {
		fmt.Fprintf(b, "< %s %x\n", f.Link, f.Data)
	}
}

func (b *recorder) macro(line string, r stage.Result) {
	if strings.HasPrefix(line, "rep ") {
		fmt.Fprintf(b, "%s -> %d frames\n", line, len(r.Frames))
		return
	}
	words := []string{}
	for _, f := range r.Frames {
		words = append(words, verdict(f))
	}
	if len(words) == 0 {
		words = []string{"none"}
	}
	fmt.Fprintf(b, "%s -> %s\n", line, strings.Join(words, " "))
	if b.full {
		step, _, _ := frame(line) // it was played, so it is one
		fmt.Fprintf(b, "> %s %x\n", step.Link, step.Data)
		b.frames(r.Frames)
	}
}

// gateways are the routers on the two links.
var gateways = map[string]wire.MAC{"c": {2, 0, 0, 0, 0, 0xfe}, "s": {2, 0, 0, 0, 0, 0xfd}}

// verdict is the one word that says where a frame went.
func verdict(f stage.Emission) string {
	var p wire.Packet
	if p.Parse(f.Data, wire.Ethernet) != wire.None {
		return "malformed"
	}
	dst := wire.EthernetHeader(f.Data).Dst()
	if dst == gateways[f.Link] {
		if word := answer(&p, f); word != "" {
			return word
		}
	}
	switch {
	case dst != gateways[f.Link] && dst[0] == 2 && dst[1] == 0:
		return fmt.Sprintf("%d.%d.%d.%d", dst[2], dst[3], dst[4], dst[5])
	case dst != gateways[f.Link] && dst[0] == 2 && dst[1] == 6:
		return "mac:" + hex.EncodeToString(dst[2:])
	}
	return f.Link + ":" + hex.EncodeToString(dst[:])
}

// answer names what the director itself may have said to a gateway.
func answer(p *wire.Packet, f stage.Emission) string {
	switch {
	case p.Proto == wire.ProtoICMP && p.Full:
		return fmt.Sprintf("icmp:%d/%d", f.Data[p.L4], f.Data[p.L4+1])
	case p.Proto == wire.ProtoICMPv6 && p.Full:
		return fmt.Sprintf("icmp6:%d/%d", f.Data[p.L4], f.Data[p.L4+1])
	case p.Proto == wire.ProtoTCP && p.TCPFlags&wire.FlagRST != 0:
		return "rst"
	}
	return ""
}

// compare plays a recording through usvs and returns the first difference.
func compare(name, trace string) (*oracle.Difference, error) {
	t, err := oracle.ParseTrace(name, strings.NewReader(trace))
	if err != nil {
		return nil, err
	}
	err = oracle.Play(t)
	if d, ok := err.(*oracle.Difference); ok {
		return d, nil
	}
	return nil, err
}
