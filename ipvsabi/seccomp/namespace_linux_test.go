package seccomp

import (
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

// countingDirector tells when it is closed.
type countingDirector struct {
	Director
	closed chan struct{}
}

func (d *countingDirector) Close() { close(d.closed) }

func TestNamespacesAreForgotten(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		away := lab.Namespace("away")
		var opened []*countingDirector
		var enter Enter
		l, err := newNamespaces(func(e Enter) Director {
			enter = e
			opened = append(opened, &countingDirector{closed: make(chan struct{})})
			return opened[len(opened)-1]
		})
		require.NoError(t, err)
		use := func() *namespace {
			fd, err := unix.Open(away.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			ns, err := l.use(fd)
			require.NoError(t, err)
			return ns
		}
		ns := use()
		assert.Same(t, ns, use(), "one namespace is known once")
		require.Len(t, opened, 1)

		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				err := enter(func() error {
					id, err := identifyPath("/proc/thread-self/ns/net")
					assert.Equal(t, ns.id, id)
					assert.NotEqual(t, os.Getpid(), unix.Gettid(), "never the process's first thread")
					return err
				})
				assert.NoError(t, err)
			})
		}
		all.Wait()
		home, err := identifyPath("/proc/self/ns/net")
		require.NoError(t, err)
		assert.Equal(t, l.home, home)
		broken := errors.New("broken")
		assert.Equal(t, broken, enter(func() error { return broken }))

		l.done(ns)
		l.done(ns)
		<-opened[0].closed
		assert.ErrorIs(t, enter(func() error { return nil }), os.ErrClosed)
		assert.False(t, l.hold(ns))
		assert.NotSame(t, ns, use())
		_, err = l.use(-1)
		assert.Error(t, err)
	})
}
