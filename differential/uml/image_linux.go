package uml

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Install is where user-mode-linux is.
type Install struct {
	Kernel  string // the executable
	Modules string // the directory of its modules, by release
}

// ErrNotInstalled says what to do about it.
var ErrNotInstalled = errors.New("no user-mode-linux here: apt-get install user-mode-linux ipvsadm iproute2 iptables kmod")

// Find looks for Debian's package, below another root than / if one is given:
// the package need only be unpacked there.
func Find(root string) (Install, error) {
	in := Install{
		Kernel:  filepath.Join("/", root, "usr/bin/linux.uml"),
		Modules: filepath.Join("/", root, "usr/lib/uml/modules"),
	}
	for _, path := range []string{in.Kernel, in.Modules} {
		if _, err := os.Stat(path); err != nil {
			return Install{}, ErrNotInstalled
		}
	}
	return in, nil
}

// image is a kernel made ready: the copy of the executable and the address of
// the nanoseconds that its clock is ahead.
type image struct {
	path  string
	ahead uint64
}

// prepare writes the changed copy of the kernel into dir.
func prepare(in Install, dir string) (image, error) {
	data, err := os.ReadFile(in.Kernel)
	if err != nil {
		return image{}, err
	}
	f, err := elf.Open(in.Kernel)
	if err != nil {
		return image{}, err
	}
	defer f.Close()
	size, err := stateSize()
	if err != nil {
		return image{}, fmt.Errorf("ask for the size of the processor's state: %w", err)
	}
	ahead, err := patch(f, data, size)
	if err != nil {
		return image{}, fmt.Errorf("%s is not a kernel this program knows how to start: %w", in.Kernel, err)
	}
	path := filepath.Join(dir, "linux")
	return image{path, ahead}, os.WriteFile(path, data, 0o700)
}

// patch puts the two calls' replacements behind the kernel's text, in the rest
// of its last page, and makes the calls' linkage entries jump there. size is the host's
// size of a processor's state.
func patch(f *elf.File, data []byte, size uint32) (ahead uint64, err error) {
	if f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return 0, errors.New("it is not a fixed x86-64 executable")
	}
	text, err := textSegment(f)
	if err != nil {
		return 0, err
	}
	const align = 16
	end := (text.Vaddr + text.Filesz + align) &^ (align - 1)
	ahead = end
	clock := ahead + align
	trace := clock + uint64(len(clockCode))
	if last := trace + uint64(len(traceCode)); last > (text.Vaddr+text.Filesz+0xfff)&^0xfff {
		return 0, errors.New("its text leaves no room in the last page")
	}
	slot, err := jumpSlot(f, "ptrace")
	if err != nil {
		return 0, err
	}
	w := writer{data: data, shift: text.Off - text.Vaddr}
	w.put(clock, clockCode, clockAhead, ahead)
	w.put(trace, traceCode, traceSlot, slot)
	binary.LittleEndian.PutUint32(data[trace+w.shift+traceSize:], size)
	for name, target := range map[string]uint64{"clock_gettime": clock, "ptrace": trace} {
		entry, err := linkageOf(f, name)
		if err != nil {
			return 0, err
		}
		w.put(entry, []byte{0xe9, 0, 0, 0, 0}, 1, target) // jmp target
	}
	return ahead, nil
}

// clockCode is clock_gettime(edi, rsi) of a clock that is ahead.
var clockCode = []byte{
	0xb8, 0xe4, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x48, 0x69, 0x06, 0x00, 0xca, 0x9a, 0x3b, // imul rax, [rsi], 1e9
	0x48, 0x03, 0x46, 0x08, // add rax, [rsi+8]
	0x48, 0x03, 0x05, 0, 0, 0, 0, // add rax, [ahead]
	0x31, 0xd2, // xor edx, edx
	0xb9, 0x00, 0xca, 0x9a, 0x3b, // mov ecx, 1e9
	0x48, 0xf7, 0xf1, // div rcx
	0x48, 0x89, 0x06, // mov [rsi], rax
	0x48, 0x89, 0x56, 0x08, // mov [rsi+8], rdx
	0x31, 0xc0, // xor eax, eax
	0xc3, // ret
}

// clockAhead is where clockCode has the distance to ahead.
const clockAhead = 21

// traceCode is ptrace(edi, rsi, rdx, rcx) that sets all of the processor's state:
// it makes the iovec of PTRACE_SETREGSET as long as the host wants it. What the
// kernel's buffer does not have belongs to features that its header leaves out,
// and is not looked at.
var traceCode = []byte{
	0x81, 0xff, 0x05, 0x42, 0, 0, // cmp edi, PTRACE_SETREGSET
	0x75, 0x11, // jne go
	0x48, 0x81, 0xfa, 0x02, 0x02, 0, 0, // cmp rdx, NT_X86_XSTATE
	0x75, 0x08, // jne go
	0x48, 0xc7, 0x41, 0x08, 0, 0, 0, 0, // mov qword [rcx+8], size
	0xff, 0x25, 0, 0, 0, 0, // go: jmp [slot]
}

// Where traceCode has the size, and the distance to the slot.
const (
	traceSize = 21
	traceSlot = 27
)

// writer writes code into the bytes of a file.
type writer struct {
	data  []byte
	shift uint64 // from an address to its place in the file
}

// put writes code at an address; its 32 bits at rel become the distance to
// target, as x86-64 counts it: from the end of the instruction.
func (w writer) put(at uint64, code []byte, rel int, target uint64) {
	place := w.data[at+w.shift:]
	copy(place, code)
	next := at + uint64(rel) + 4
	binary.LittleEndian.PutUint32(place[rel:], uint32(target-next))
}

// textSegment is the executable segment that has .text.
func textSegment(f *elf.File) (*elf.Prog, error) {
	text := f.Section(".text")
	if text == nil {
		return nil, errors.New("it has no .text")
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Vaddr <= text.Addr && text.Addr < p.Vaddr+p.Filesz {
			return p, nil
		}
	}
	return nil, errors.New("no segment has its .text")
}

// linkageOf is the address that calls of a library function go to.
func linkageOf(f *elf.File, name string) (uint64, error) {
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == name && s.Value != 0 {
			return s.Value, nil
		}
	}
	return 0, fmt.Errorf("it has no linkage entry of %s", name)
}

// jumpSlot is where the linker puts the address of a library function.
func jumpSlot(f *elf.File, name string) (uint64, error) {
	section := f.Section(".rela.plt")
	if section == nil {
		return 0, errors.New("it has no .rela.plt")
	}
	rela, err := section.Data()
	if err != nil {
		return 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	const entry = 24 // of Elf64_Rela: offset, info, addend
	for ; len(rela) >= entry; rela = rela[entry:] {
		index := binary.LittleEndian.Uint64(rela[8:]) >> 32 // 0 is the null symbol, which the list leaves out
		if index > 0 && index <= uint64(len(symbols)) && symbols[index-1].Name == name {
			return binary.LittleEndian.Uint64(rela), nil
		}
	}
	return 0, fmt.Errorf("it has no slot of %s", name)
}
