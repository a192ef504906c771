//go:build !linux

package integration

func testProgram(string) int { return 1 }
