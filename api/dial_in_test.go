package api

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/ipvsadm"
)

// Every connection is made inside, and what keeps from going there is the error.
func TestDialIn(t *testing.T) {
	entered := 0
	c := DialIn("@usvs-nobody-listens", func(f func() error) error {
		entered++
		return f()
	})
	defer c.Close()
	_, err := c.Info()
	assert.ErrorIs(t, err, ErrNoDirector)
	assert.Equal(t, 1, entered)

	closed := errors.New("the door is closed")
	c = DialIn("@usvs", func(func() error) error { return closed })
	_, err = c.Info()
	assert.ErrorIs(t, err, ipvsadm.ErrUnreachable)
	assert.ErrorIs(t, err, closed)
}
