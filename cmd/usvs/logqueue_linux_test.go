package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reader is who reads a log.
type reader struct {
	stalled chan struct{} // until this is closed; nil: it is not
	text    bytes.Buffer
}

func (r *reader) Write(p []byte) (int, error) {
	if r.stalled != nil {
		<-r.stalled
	}
	return r.text.Write(p)
}

func inBrackets(lost int) []byte { return fmt.Appendf(nil, "[%d]\n", lost) }

// endRun ends the queue's goroutine, which in a program nobody does.
func (q *logQueue) endRun() { close(q.wake) }

func TestLogQueueKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		q := newLogQueue(&r, inBrackets)
		defer q.endRun()
		var want strings.Builder
		for i := range 1000 {
			line := fmt.Sprintln("line", i)
			want.WriteString(line)
			n, err := q.Write([]byte(line))
			require.Equal(t, len(line), n)
			require.NoError(t, err)
		}
		assert.True(t, q.flush(time.Second))
		assert.Equal(t, want.String(), r.text.String())
	})
}

// While nobody reads nobody waits; afterwards there is what fitted, how much did
// not, and what came later.
func TestLogQueueOfAStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reader{stalled: make(chan struct{})}
		q := newLogQueue(&r, inBrackets)
		defer q.endRun()
		_, _ = q.Write([]byte("first\n"))
		synctest.Wait() // it hangs in the reader
		line := []byte(strings.Repeat("x", 1023) + "\n")
		fit := logLimit / len(line)
		began := time.Now()
		for range fit + 7 {
			_, _ = q.Write(line)
		}
		_, _ = q.Write([]byte("short\n"))
		assert.Zero(t, time.Since(began))
		assert.False(t, q.flush(time.Second))
		assert.Equal(t, time.Second, time.Since(began))

		close(r.stalled)
		assert.True(t, q.flush(time.Second))
		_, _ = q.Write([]byte("later\n"))
		assert.True(t, q.flush(time.Second))
		lines := strings.Split(r.text.String(), "\n")
		assert.Equal(t, "first", lines[0])
		assert.Equal(t, []string{"[8]", "later", ""}, lines[1+fit:])
	})
}

// Writers side by side lose no line but those that are counted.
func TestLogQueueCountsWhatItLoses(t *testing.T) {
	var r reader
	lost := 0
	q := newLogQueue(&r, func(n int) []byte { lost += n; return nil })
	defer q.endRun()
	var writers sync.WaitGroup
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 8 {
		writers.Go(func() {
			for range 1000 {
				_, _ = q.Write(line)
			}
		})
	}
	writers.Wait()
	require.True(t, q.flush(time.Minute))
	assert.Equal(t, 8000, lost+bytes.Count(r.text.Bytes(), []byte("\n")))
}

// A full pipe is what a stopped journald looks like.
func TestLoggerOfAFullPipe(t *testing.T) {
	for format, words := range map[string][]string{
		"text": {`msg="lines of the log are lost here: it was not read"`, "lines="},
		"json": {`"msg":"lines of the log are lost here: it was not read"`, `"lines":`},
	} {
		in, out, err := os.Pipe()
		require.NoError(t, err)
		log, queue, err := newLogger(runFlags{logLevel: "info", logFormat: format}, out)
		require.NoError(t, err)
		const lines = 3 * logLimit / 1000
		for i := range lines {
			log.Info(strings.Repeat("x", 1000), "number", i)
		}
		read := make(chan string)
		go func() {
			text, _ := io.ReadAll(in)
			read <- string(text)
		}()
		queue.flush(logPatience)
		log.Info("the last")
		queue.flush(logPatience)
		out.Close()
		text := <-read
		in.Close()
		for _, w := range words {
			assert.Contains(t, text, w)
		}
		all := strings.Split(strings.TrimSpace(text), "\n")
		assert.Contains(t, all[len(all)-1], "the last")
		assert.Less(t, len(all), lines)
		if format == "json" {
			for _, line := range all {
				assert.True(t, json.Valid([]byte(line)), line)
			}
		}
	}
}

// A director that cannot go on ends, though nobody reads why.
func TestEndOfAStalledReader(t *testing.T) {
	in, out, err := os.Pipe()
	require.NoError(t, err)
	stderr, log := os.Stderr, slog.Default()
	defer func() { os.Stderr = stderr; slog.SetDefault(log) }()
	os.Stderr = out
	require.NoError(t, out.SetWriteDeadline(time.Now().Add(10*time.Millisecond)))
	for lines := strings.Repeat("\n", 4096); err == nil; {
		_, err = out.WriteString(lines) // until it is full
	}
	require.NoError(t, out.SetWriteDeadline(time.Time{}))
	require.Equal(t, exitStatus(1), runDirector(t.Context(), runFlags{logLevel: "info", logFormat: "text", own: "bad"}))
	defer out.Close()
	defer in.Close()
	lines := bufio.NewScanner(in)
	for lines.Scan() && lines.Text() == "" {
	}
	assert.Equal(t, `usvs: --own "bad": want services or host`, lines.Text())
}

func TestLoggerRefuses(t *testing.T) {
	_, _, err := newLogger(runFlags{logLevel: "loud", logFormat: "text"}, io.Discard)
	assert.ErrorContains(t, err, "--log-level")
	_, _, err = newLogger(runFlags{logLevel: "info", logFormat: "xml"}, io.Discard)
	assert.ErrorContains(t, err, "--log-format")
}
