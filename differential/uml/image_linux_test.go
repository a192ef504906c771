package uml

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCodeHasItsHoles(t *testing.T) {
	require.Equal(t, []byte{0x48, 0x03, 0x05, 0, 0, 0, 0}, clockCode[clockAhead-3:clockAhead+4], "add rax, [ahead]")
	require.Equal(t, []byte{0x48, 0xc7, 0x41, 0x08, 0, 0, 0, 0}, traceCode[traceSize-4:traceSize+4], "mov qword [rcx+8], size")
	require.Equal(t, []byte{0xff, 0x25, 0, 0, 0, 0}, traceCode[traceSlot-2:traceSlot+4], "jmp [slot]")
	const jne1, jne2 = 6, 15
	for _, at := range []int{jne1, jne2} {
		require.EqualValues(t, 0x75, traceCode[at])
		require.Equal(t, traceSlot-2, at+2+int(traceCode[at+1]), "both jump to the end")
	}
}

func TestPutCountsFromTheEndOfTheInstruction(t *testing.T) {
	base := uint64(0x1000)
	w := writer{data: make([]byte, 64), shift: 16 - base}
	w.put(0x1000, []byte{0xe9, 0, 0, 0, 0}, 1, 0x1020)
	require.Equal(t, []byte{0xe9, 0x1b, 0, 0, 0}, w.data[16:21])
	w.put(0x1020, []byte{0xe9, 0, 0, 0, 0}, 1, 0x1000)
	require.EqualValues(t, -0x25, int32(binary.LittleEndian.Uint32(w.data[49:])))
}

func TestFindSaysWhatToInstall(t *testing.T) {
	_, err := Find(t.TempDir())
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "apt-get install user-mode-linux")
}

func TestOtherExecutablesAreRefused(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	data, err := os.ReadFile(self)
	require.NoError(t, err)
	f, err := elf.Open(self)
	require.NoError(t, err)
	defer f.Close()
	_, err = patch(f, data, 2696)
	require.Error(t, err)
}

func TestStateSize(t *testing.T) {
	size, err := stateSize()
	if err != nil {
		t.Skipf("no process may be traced here: %v", err)
	}
	require.GreaterOrEqual(t, size, uint32(576), "the legacy area and the header")
}
