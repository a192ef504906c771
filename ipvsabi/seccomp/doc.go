// Package seccomp has unmodified programs find usvs where they look for the kernel's IPVS.
package seccomp
