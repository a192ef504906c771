package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// labFile is the scenario of a folder that is one lab; the folder's other
// files are what `<` reads.
const labFile = "scenario.txt"

// Load reads the scenarios that a path names: a file, a folder with a
// scenario.txt, which is one scenario, or a folder with any number of either.
func Load(path string) ([]*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		f, err := loadFile(path)
		return []*File{f}, err
	}
	if _, err := os.Stat(filepath.Join(path, labFile)); err == nil {
		f, err := loadLab(path)
		return []*File{f}, err
	}
	return loadFolder(path)
}

func loadFile(path string) (*File, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxText {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxText)
	}
	return os.ReadFile(path)
}

// loadLab reads a folder as if its other files stood at the end of the scenario.
func loadLab(dir string) (*File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	text, err := readBounded(filepath.Join(dir, labFile))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name() == labFile || !e.Type().IsRegular() || !sectionLine.MatchString("-- "+e.Name()+" --") {
			continue
		}
		b, err := readBounded(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		text = append(text, "\n-- "+e.Name()+" --\n"...)
		text = append(text, b...)
	}
	return Parse(filepath.Join(dir, labFile), text)
}

// loadFolder reads all scenarios in a folder and the folders in it, by name.
func loadFolder(dir string) ([]*File, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var files []*File
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			list, err := Load(path)
			if err != nil {
				return nil, err
			}
			files = append(files, list...)
		case strings.HasSuffix(e.Name(), ".txt"):
			f, err := loadFile(path)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	return slices.Clip(files), nil
}
