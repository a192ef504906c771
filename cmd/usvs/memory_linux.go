package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// freePages is how many pages of memory are free or hold buffers, which is what
// IPVS's defences go by (ipvs.md 2.9). If the kernel does not say, there is no
// shortage.
func freePages() int {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return math.MaxInt
	}
	defer f.Close()
	return freePagesIn(f)
}

func freePagesIn(meminfo io.Reader) int {
	kilobytes, found := 0, false
	for lines := bufio.NewScanner(meminfo); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		var n int
		if name != "MemFree" && name != "Buffers" {
			continue
		}
		if _, err := fmt.Sscan(value, &n); err == nil {
			kilobytes, found = kilobytes+n, true
		}
	}
	if !found {
		return math.MaxInt
	}
	return kilobytes / (os.Getpagesize() / 1024)
}
