package netsim

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// logHandler writes what production code logs into the network's log.
type logHandler struct {
	net   *Net
	who   string
	attrs string
}

// Enabled leaves out what is for debugging only.
func (l *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle writes a record as text: level, message, attributes.
func (l *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if r.Level > slog.LevelInfo {
		b.WriteString(r.Level.String() + " ")
	}
	b.WriteString(r.Message + l.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(attribute(a))
		return true
	})
	l.net.logf(l.who, "%s", b.String())
	return nil
}

// WithAttrs returns a handler that adds attributes to each record.
func (l *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *l
	for _, a := range attrs {
		next.attrs += attribute(a)
	}
	return &next
}

// WithGroup returns the handler itself: groups are not told apart.
func (l *logHandler) WithGroup(string) slog.Handler { return l }

func attribute(a slog.Attr) string {
	return fmt.Sprintf(" %s=%v", a.Key, a.Value)
}
