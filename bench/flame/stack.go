package flame

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/pprof/profile"
)

// Stack is the functions that were being called, the outermost first, and how
// much of something was seen with exactly these.
type Stack struct {
	Functions []string
	Value     int64
}

// Stacks are samples, and what their values count.
type Stacks struct {
	Unit string // "nanoseconds" of a processor profile; "": samples
	List []Stack

	total int64 // of all values
}

// maxDepth bounds a stack: what is called below is counted for the last.
const maxDepth = 256

// Read reads a profile of runtime/pprof, or folded stacks.
func Read(r io.Reader) (*Stacks, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	gzipped := bytes.HasPrefix(b, []byte{0x1f, 0x8b})
	if s, err := readFolded(b); err == nil && !gzipped {
		return s, nil
	}
	p, err := profile.ParseData(b)
	if err != nil {
		return nil, fmt.Errorf("neither a profile nor folded stacks: %w", err)
	}
	return ofProfile(p)
}

// readFolded reads lines of functions, separated by semicolons, and a number.
func readFolded(b []byte) (*Stacks, error) {
	var s Stacks
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			return nil, fmt.Errorf("line %d: no number", n)
		}
		v, err := strconv.ParseInt(line[at+1:], 10, 64)
		if err != nil || v < 0 {
			return nil, fmt.Errorf("line %d: %q is no number of samples", n, line[at+1:])
		}
		if err := s.add(strings.Split(line[:at], ";"), v); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return &s, lines.Err()
}

// ofProfile takes the processor time from a profile, or what else it says is
// its main value.
func ofProfile(p *profile.Profile) (*Stacks, error) {
	if len(p.SampleType) == 0 {
		return nil, errors.New("a profile without values")
	}
	index := len(p.SampleType) - 1
	for i, t := range p.SampleType {
		if t.Type == "cpu" || t.Type == p.DefaultSampleType {
			index = i
		}
	}
	s := &Stacks{Unit: p.SampleType[index].Unit}
	for _, sample := range p.Sample {
		if err := s.add(functions(sample), sample.Value[index]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// functions lists a sample's, inlined ones included, which a profile has with
// the innermost first.
func functions(s *profile.Sample) []string {
	var list []string
	for i := len(s.Location) - 1; i >= 0; i-- {
		l := s.Location[i]
		if len(l.Line) == 0 {
			list = append(list, fmt.Sprintf("0x%x", l.Address))
		}
		for j := len(l.Line) - 1; j >= 0; j-- {
			if f := l.Line[j].Function; f != nil {
				list = append(list, f.Name)
			}
		}
	}
	return list
}

// maxTotal keeps sums of values, and their products with a width, in range.
const maxTotal = 1 << 53

func (s *Stacks) add(functions []string, v int64) error {
	if v < 0 || v > maxTotal-s.total {
		return fmt.Errorf("a value of %d among %d", v, s.total)
	}
	s.total += v
	s.List = append(s.List, Stack{functions[:min(len(functions), maxDepth)], v})
	return nil
}

// Total is the sum of all values.
func (s *Stacks) Total() int64 { return s.total }

// Below is the part of the stacks in which a function matches, from the first
// such function on.
func (s *Stacks) Below(match *regexp.Regexp) *Stacks {
	part := &Stacks{Unit: s.Unit}
	for _, stack := range s.List {
		for i, f := range stack.Functions {
			if match.MatchString(f) {
				part.List = append(part.List, Stack{stack.Functions[i:], stack.Value})
				part.total += stack.Value
				break
			}
		}
	}
	return part
}
