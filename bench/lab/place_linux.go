package lab

import (
	"fmt"
	"runtime"

	"usvs/bench/load"
	"usvs/link/netlab"
)

// The cores: one makes the load, the other is the director's.
const (
	LoadCore     = 0
	DirectorCore = 1
)

// Cores is how many the machine must have.
const Cores = 2

// AnyCore leaves it to the scheduler.
const AnyCore = -1

// OnCore calls f on a thread that is in a namespace and stays on a core, as do
// the processes that it starts.
func OnCore(ns *netlab.Namespace, core int, f func() error) error {
	return ns.Do(func() error {
		if core != AnyCore {
			if err := load.StayOn(core); err != nil {
				return err
			}
		}
		return f()
	})
}

// EnoughCores says why this machine cannot be measured on.
func EnoughCores() error {
	if n := runtime.NumCPU(); n < Cores {
		return fmt.Errorf("there are %d cores: the load and the director need one each", n)
	}
	return nil
}
