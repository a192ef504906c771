package oracle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Result is what came of one recording.
type Result struct {
	Folder string      `json:"folder"` // of the recording, below the directory given
	Case   string      `json:"case"`
	File   string      `json:"file"`
	Steps  int         `json:"steps"`
	Passed bool        `json:"passed"`
	Differ *Difference `json:"difference,omitempty"`
	Failed string      `json:"error,omitempty"` // a recording that could not be played
}

// Name is the folder and the case.
func (r *Result) Name() string {
	if r.Folder == "." {
		return r.Case
	}
	return r.Folder + "/" + r.Case
}

// Why says what was wrong; "" if nothing was.
func (r *Result) Why() string {
	if r.Differ != nil {
		return r.Differ.Error()
	}
	return r.Failed
}

// Recording is a file to play.
type Recording struct{ Folder, Case, File string }

// Find lists the recordings below the directories: *.trace anywhere, and *.txt
// in folders called text. A file is taken as it is.
func Find(dirs ...string) ([]Recording, error) {
	var list []Recording
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() || path != dir && !isRecording(path) {
				return nil
			}
			list = append(list, newRecording(dir, path))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

func isRecording(path string) bool {
	switch filepath.Ext(path) {
	case ".trace":
		return true
	case ".txt":
		abs, err := filepath.Abs(path)
		return err == nil && filepath.Base(filepath.Dir(abs)) == "text"
	}
	return false
}

func newRecording(dir, path string) Recording {
	folder, err := filepath.Rel(dir, filepath.Dir(path))
	if err != nil || strings.HasPrefix(folder, "..") {
		folder = "."
	}
	name := filepath.Base(path)
	return Recording{filepath.ToSlash(folder), strings.TrimSuffix(name, filepath.Ext(name)), path}
}

// Matching keeps the recordings whose folder and case match.
func Matching(list []Recording, re *regexp.Regexp) []Recording {
	return slices.DeleteFunc(slices.Clone(list), func(r Recording) bool {
		return !re.MatchString(r.Folder + "/" + r.Case)
	})
}

// PlayAll plays recordings, several at a time, and calls done with each result
// in the order of the list.
func PlayAll(list []Recording, done func(*Result)) {
	results := make([]chan *Result, len(list))
	for i := range results {
		results[i] = make(chan *Result, 1)
	}
	var next sync.Mutex
	at := 0
	for range min(runtime.GOMAXPROCS(0), len(list)) {
		go func() {
			for {
				next.Lock()
				i := at
				at++
				next.Unlock()
				if i >= len(list) {
					return
				}
				results[i] <- PlayFile(list[i])
			}
		}()
	}
	for _, r := range results {
		done(<-r)
	}
}

// PlayFile plays one recording. A file called hosts beside it has the names of
// the recorded machine.
func PlayFile(rec Recording) *Result {
	r := &Result{Folder: rec.Folder, Case: rec.Case, File: rec.File}
	t, err := load(rec.File)
	if err == nil {
		r.Steps = len(t.Steps)
		err = played(t)
	}
	r.Passed = err == nil
	if err != nil && !errors.As(err, &r.Differ) {
		r.Failed = err.Error()
	}
	return r
}

// played is Play for recordings nobody has vouched for: one that brings usvs
// down has failed.
func played(t *Trace) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: usvs panicked: %v", t.Name, p)
		}
	}()
	return Play(t)
}

func load(path string) (*Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := ParseTrace(filepath.Base(path), f)
	if err != nil {
		return nil, err
	}
	if len(t.Steps) == 0 {
		return nil, fmt.Errorf("%s: there is no step in it", path)
	}
	hosts, err := os.ReadFile(filepath.Join(filepath.Dir(path), "hosts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	t.Hosts = string(hosts)
	return t, nil
}

// Tally counts results, by folder and in all.
type Tally struct {
	Passed  int               `json:"passed"`
	Failed  int               `json:"failed"`
	Folders map[string]*Tally `json:"folders,omitempty"`
}

// Add counts a result.
func (t *Tally) Add(r *Result) {
	if t.Folders == nil {
		t.Folders = map[string]*Tally{}
	}
	if t.Folders[r.Folder] == nil {
		t.Folders[r.Folder] = &Tally{}
	}
	t.count(r.Passed)
	t.Folders[r.Folder].count(r.Passed)
}

func (t *Tally) count(passed bool) {
	if passed {
		t.Passed++
		return
	}
	t.Failed++
}

// String is the closing line of a report.
func (t *Tally) String() string {
	var names []string
	for name := range t.Folders {
		names = append(names, name)
	}
	slices.Sort(names)
	var parts []string
	for _, name := range names {
		f := t.Folders[name]
		parts = append(parts, fmt.Sprintf("%s: %d passed, %d failed", name, f.Passed, f.Failed))
	}
	return strings.Join(append(parts, fmt.Sprintf("all: %d passed, %d failed", t.Passed, t.Failed)), "; ")
}
