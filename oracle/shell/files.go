package shell

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Device is a file that makes its content and judges what is written to it.
type Device struct {
	Read  func() ([]byte, error)
	Write func([]byte) error // nil: read-only
}

// Memory is a file system of ordinary files and devices. Directories are those
// that files are in; the usual ones of a system are there from the start.
type Memory struct {
	// Device finds the device of that name; Devices lists the names of those
	// in a directory, and whether there is such a directory.
	Device  func(name string) (Device, bool)
	Devices func(dir string) ([]string, bool)

	files map[string][]byte
}

// directories are there from the start.
var directories = []string{"/", "/tmp", "/run", "/root", "/var/tmp", "/dev"}

// Read returns a file's content.
func (m *Memory) Read(name string) ([]byte, error) {
	if name == "/dev/null" {
		return nil, nil
	}
	if d, ok := m.device(name); ok {
		return d.Read()
	}
	if data, ok := m.files[name]; ok {
		return data, nil
	}
	if m.isDir(name) {
		return nil, ErrDirectory
	}
	return nil, fs.ErrNotExist
}

// Creatable reports why name cannot be written to.
func (m *Memory) Creatable(name string) error {
	if d, ok := m.device(name); ok {
		if d.Write == nil {
			return fs.ErrPermission
		}
		return nil
	}
	if m.isDir(name) {
		return ErrDirectory
	}
	if m.devices(path.Dir(name)) || !m.isDir(path.Dir(name)) {
		return fs.ErrNotExist
	}
	return nil
}

// Write replaces or extends a file.
func (m *Memory) Write(name string, data []byte, appending bool) error {
	if err := m.Creatable(name); err != nil {
		return err
	}
	if d, ok := m.device(name); ok {
		return d.Write(data)
	}
	if m.files == nil {
		m.files = map[string][]byte{}
	}
	if appending {
		m.files[name] = append(bytes.Clone(m.files[name]), data...)
		return nil
	}
	m.files[name] = bytes.Clone(data)
	return nil
}

// Remove removes an ordinary file.
func (m *Memory) Remove(name string) error {
	if _, ok := m.files[name]; !ok {
		return fs.ErrNotExist
	}
	delete(m.files, name)
	return nil
}

// List returns the names in a directory, sorted.
func (m *Memory) List(dir string) ([]string, error) {
	var names []string
	if m.Devices != nil {
		names, _ = m.Devices(dir)
	}
	names = slices.Clone(names)
	for file := range m.files {
		if path.Dir(file) == dir {
			names = append(names, path.Base(file))
		}
	}
	if names == nil && !m.isDir(dir) {
		return nil, fs.ErrNotExist
	}
	slices.Sort(names)
	return names, nil
}

func (m *Memory) device(name string) (Device, bool) {
	if m.Device == nil {
		return Device{}, false
	}
	return m.Device(name)
}

func (m *Memory) devices(dir string) bool {
	if m.Devices == nil {
		return false
	}
	_, ok := m.Devices(dir)
	return ok
}

func (m *Memory) isDir(name string) bool {
	if slices.Contains(directories, name) || m.devices(name) {
		return true
	}
	for file := range m.files {
		if strings.HasPrefix(file, name+"/") {
			return true
		}
	}
	return false
}
