#include "go_asm.h"
#include "textflag.h"

// PREFETCH_EACH prefetches what a field of each of the probes points to.
#define PREFETCH_EACH(field) \
	MOVQ probes_base+0(FP), AX; \
	MOVQ probes_len+8(FP), CX; \
	JMP  test; \
next: \
	MOVQ field(AX), DX; \
	PREFETCHT0 (DX); \
	ADDQ $Probe__size, AX; \
	DECQ CX; \
test: \
	TESTQ CX, CX; \
	JNE  next; \
	RET

// func prefetchBuckets(probes []Probe)
TEXT ·prefetchBuckets(SB), NOSPLIT, $0-24
	PREFETCH_EACH(Probe_bucket)

// func prefetchEntries(probes []Probe)
TEXT ·prefetchEntries(SB), NOSPLIT, $0-24
	PREFETCH_EACH(Probe_entry)
