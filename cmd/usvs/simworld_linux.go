package main

import (
	"fmt"

	"usvs/link/netlab"
	"usvs/scenario"
)

// enterWorld makes sure that this is a process that can have the world. If not
// it starts one, and done is true: status is how that ended.
func enterWorld(world string) (status int, done bool, err error) {
	if world == "sim" {
		return 0, false, nil
	}
	status, inside, err := netlab.Enter()
	if err != nil {
		return 0, true, fmt.Errorf("world %s: %w: %w", world, err, scenario.ErrUnsupported)
	}
	return status, !inside, nil
}
