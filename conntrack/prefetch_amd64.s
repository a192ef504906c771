#include "go_asm.h"
#include "textflag.h"

// func prefetchBuckets(probes []Probe)
TEXT ·prefetchBuckets(SB), NOSPLIT, $0-24
	MOVQ probes_base+0(FP), AX
	MOVQ probes_len+8(FP), CX
	JMP  test
next:
	MOVQ Probe_bucket(AX), DX
	PREFETCHT0 (DX)
	ADDQ $Probe__size, AX
	DECQ CX
test:
	TESTQ CX, CX
	JNE  next
	RET

// func prefetchEntries(probes []Probe)
TEXT ·prefetchEntries(SB), NOSPLIT, $0-24
	MOVQ probes_base+0(FP), AX
	MOVQ probes_len+8(FP), CX
	JMP  test
next:
	MOVQ Probe_entry(AX), DX
	PREFETCHT0 (DX)
	ADDQ $Probe__size, AX
	DECQ CX
test:
	TESTQ CX, CX
	JNE  next
	RET
