//go:build !linux

package main

import "github.com/spf13/cobra"

// platformSuites are those that need Linux.
func platformSuites() []benchSuite { return nil }

// newBenchInsideCmd is what suites that need Linux start.
func newBenchInsideCmd() *cobra.Command { return &cobra.Command{Use: "inside", Hidden: true} }
