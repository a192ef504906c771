//go:build linux

package keeper

import (
	"syscall"
	"unsafe"
)

// largePage is the size of large pages on most machines. Where it is another,
// less memory gets them.
const largePage = 2 << 20

// wantLargePages asks for large pages wherever b touches one. Such a page holds
// other memory of this process, too, or none: Go's runtime maps memory in larger
// pieces. Where the system has none it refuses, and all goes on as it is.
func wantLargePages(b []byte) {
	if len(b) == 0 {
		return
	}
	first := uintptr(unsafe.Pointer(&b[0]))
	begin, end := first&^(largePage-1), (first+uintptr(len(b))+largePage-1)&^(largePage-1)
	syscall.Syscall(syscall.SYS_MADVISE, begin, end-begin, syscall.MADV_HUGEPAGE)
}
