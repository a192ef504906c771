package api

import (
	"context"
	"net"
)

// DialIn is Dial for a director in another network namespace, to which abstract
// addresses belong. enter calls a function on a thread that is in it.
func DialIn(address string, enter func(f func() error) error) *Client {
	return newClient(func(ctx context.Context) (c net.Conn, err error) {
		err = enter(func() (err error) {
			c, err = dial(ctx, address)
			return err
		})
		return c, err
	})
}
