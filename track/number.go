package track

import (
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// numberLimit is how much of a file is read, in bytes: a number is shorter.
const numberLimit = 64

// readNumber is the number in a file; 0 if there is none.
func readNumber(path string) int {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0
	}
	text, err := io.ReadAll(io.LimitReader(f, numberLimit))
	if err != nil {
		return 0
	}
	return parseNumber(string(text))
}

// parseNumber reads a number at the beginning of a text, as strtol(3) does,
// within the 32 bits that weights have.
func parseNumber(text string) int {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || end == 0 && (text[0] == '-' || text[0] == '+')) {
		end++
	}
	n, _ := strconv.ParseInt(text[:end], 10, 32) // the nearest limit if out of range
	return int(n)
}

// InitFile gives a tracked file its first number, as init_file asks for: if it
// is missing, or always with overwrite.
func InitFile(path string, value int, overwrite bool) error {
	flags := os.O_WRONLY | os.O_CREATE | syscall.O_NONBLOCK
	if overwrite {
		flags |= os.O_TRUNC
	} else {
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if os.IsExist(err) && !overwrite {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(value) + "\n")
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
