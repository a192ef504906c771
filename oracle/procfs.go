package oracle

import (
	"bytes"
	"slices"
	"strings"

	"usvs/ipvs"
	"usvs/oracle/shell"
	"usvs/procnet"
)

const sysctlDir = "/proc/sys/net/ipv4/vs"

// device is the file of that name below /proc, if there is one.
func (w *world) device(name string) (shell.Device, bool) {
	if file, ok := strings.CutPrefix(name, procnet.Dir+"/"); ok && slices.Contains(procnet.Names(), file) {
		return shell.Device{Read: func() ([]byte, error) {
			w.settle(w.now)
			var b bytes.Buffer
			err := w.ctl.WriteProc(&b, file)
			return b.Bytes(), err
		}}, true
	}
	key, ok := strings.CutPrefix(name, sysctlDir+"/")
	if !ok {
		return w.hostDevice(name)
	}
	if _, err := w.Sysctl(key); err != nil {
		return shell.Device{}, false
	}
	return shell.Device{
		Read: func() ([]byte, error) {
			v, err := w.Sysctl(key)
			return []byte(v + "\n"), err
		},
		Write: func(data []byte) error { return w.SetSysctl(key, string(data)) },
	}, true
}

// hostDevice is a file of a setting outside net.ipv4.vs.
func (w *world) hostDevice(name string) (shell.Device, bool) {
	path, ok := strings.CutPrefix(name, "/proc/sys/")
	key := strings.ReplaceAll(path, "/", ".")
	if _, known := hostDefaults[key]; !ok || !known {
		return shell.Device{}, false
	}
	return shell.Device{
		Read: func() ([]byte, error) {
			if v, ok := w.settings[key]; ok {
				return []byte(v + "\n"), nil
			}
			return []byte(hostDefaults[key] + "\n"), nil
		},
		Write: func(data []byte) error {
			w.settings[key] = strings.TrimSpace(string(data))
			return nil
		},
	}, true
}

// devices lists a directory below /proc, and reports whether it is one.
func (w *world) devices(dir string) ([]string, bool) {
	switch dir {
	case procnet.Dir:
		return procnet.Names(), true
	case sysctlDir:
		return slices.DeleteFunc(ipvs.SysctlKeys(), func(key string) bool {
			_, err := w.Sysctl(key)
			return err != nil
		}), true
	}
	return nil, strings.HasPrefix(sysctlDir, dir+"/") || dir == "/proc/sys" || dir == "/proc"
}
