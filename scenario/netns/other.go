//go:build !linux

package netns

import (
	"fmt"
	"runtime"

	"usvs/scenario"
)

// Open says that there are no network namespaces here.
func Open(world string, _ uint64) (scenario.World, error) {
	return nil, fmt.Errorf("world %s needs Linux, this is %s: %w", world, runtime.GOOS, scenario.ErrUnsupported)
}
