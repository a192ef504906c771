package stage

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// passing are the modules that a job may ask for and the next does not expect:
// they change what the kernel does in every namespace.
var passing = []string{"ip_vs_ftp"}

// asksForModules reports whether a job loads modules.
func asksForModules(job Job) bool {
	for _, s := range job.Steps {
		if strings.Contains(s.Text, "modprobe ") {
			return true
		}
	}
	return false
}

// unload removes what a job loaded, once its namespaces are gone: they go some
// time after they were closed.
func unload(clock Sleeper) (err error) {
	const tries = 20
	for range tries {
		var out []byte
		if out, err = exec.Command("modprobe", append([]string{"-r"}, passing...)...).CombinedOutput(); err == nil {
			return nil
		}
		err = fmt.Errorf("modprobe: %w: %s", err, out)
		if err := clock.Sleep(time.Second); err != nil {
			return err
		}
	}
	return err
}
