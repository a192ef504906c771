package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"usvs/keepalived"
)

const keepalivedConf = "/etc/keepalived/keepalived.conf"

// checkFlags are what `usvs check` was told.
type checkFlags struct {
	files    []string
	configID string
	rules    bool
	asJSON   bool
	usvs     bool
}

func newCheckCmd() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [-t] [FILE...]",
		Short: "Say what is wrong with a keepalived.conf or a file of rules, and in which line",
		Long: `Read configuration files and say what is wrong with them. Nothing is started and
nothing is changed; neither keepalived nor a director is needed.

A keepalived.conf (` + keepalivedConf + ` unless named) is read as
keepalived 2.2.7 reads it: what keepalived -t rejects is an error, in the same
line, and the exit status is keepalived's: 0 accepted, 2 a value is missing,
4 no such file, 5 errors, 6 scripts without script security. What keepalived
accepts but what may not be meant, and what is not checked, is a warning; among
that is whether interfaces are there. docs/keepalived.md lists the keywords.

A file of rules, which begins with a command, an ipvsadm option or NAME=value, is
held against what usvs run --rules takes; an error is status 1.`,
		Example: `  usvs check -t examples/keepalived/master.conf
  usvs check --json /etc/keepalived/keepalived.conf
  usvs check --rules web.rules`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.files = append(f.files, args...)
			return runCheck(cmd.OutOrStdout(), cmd.InOrStdin(), f)
		},
	}
	fl := cmd.Flags()
	fl.BoolP("config-test", "t", false, "as keepalived's option; checking is all that this command does")
	fl.StringArrayVarP(&f.files, "use-file", "f", nil, "a file, as keepalived's option; - is standard input")
	fl.StringVarP(&f.configID, "config-id", "i", shortHostname(), "the id that lines with @ are for")
	fl.BoolVar(&f.rules, "rules", false, "the files are rules, whatever they look like")
	fl.BoolVar(&f.usvs, "usvs", false, "the file is for usvs run --keepalived: keywords that only usvs knows are no errors")
	fl.BoolVar(&f.asJSON, "json", false, "the reports as JSON")
	return cmd
}

// shortHostname is keepalived's default for --config-id.
func shortHostname() string {
	name, _ := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	return name
}

// checked is the report about a file.
type checked struct {
	File     string    `json:"file"`
	Kind     string    `json:"kind"` // keepalived or rules
	Status   int       `json:"status"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Findings []finding `json:"findings"`
	summary  string
}

// finding is a problem with its place; line 0 is the whole file.
type finding struct {
	keepalived.Pos
	Severity string `json:"severity"` // error or warning
	Found    string `json:"found"`
	Valid    string `json:"valid,omitempty"`
	text     string
}

func runCheck(out io.Writer, in io.Reader, f checkFlags) error {
	if len(f.files) == 0 {
		f.files = []string{keepalivedConf}
	}
	disk := &diskFiles{in: in}
	var reports []checked
	for _, name := range f.files {
		reports = append(reports, checkFile(name, disk, f))
	}
	if err := printChecked(out, reports, f.asJSON); err != nil {
		return err
	}
	return worst(reports)
}

func checkFile(name string, disk *diskFiles, f checkFlags) checked {
	if f.rules {
		return checkRules(name, disk)
	}
	if text, err := disk.Read(name); err == nil && looksLikeRules(string(text)) {
		return checkRules(name, disk)
	}
	dir, _ := os.Getwd()
	config, report := keepalived.Parse(name, keepalived.Options{Files: disk, ConfigID: f.configID, Dir: dir, Extensions: f.usvs})
	c := checked{File: name, Kind: "keepalived", Status: report.Status(), summary: contents(config)}
	c.Errors, c.Warnings = report.Count()
	for _, p := range report.Problems {
		severity := "warning"
		if p.Class.Error() {
			severity = "error"
		}
		c.Findings = append(c.Findings, finding{p.Pos, severity, p.Found, p.Valid, p.String()})
	}
	if report.Dropped > 0 {
		c.summary += fmt.Sprintf("; %d more findings are not shown", report.Dropped)
	}
	return c
}

// contents says in a few words what a configuration holds.
func contents(c *keepalived.Config) string {
	servers := 0
	for _, vs := range c.VirtualServers {
		servers += len(vs.RealServers)
	}
	return fmt.Sprintf("%s, %s, %s", count(len(c.Instances), "vrrp_instance"), count(len(c.VirtualServers), "virtual_server"), count(servers, "real_server"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func printChecked(out io.Writer, reports []checked, asJSON bool) error {
	if asJSON {
		for i := range reports {
			if reports[i].Findings == nil {
				reports[i].Findings = []finding{}
			}
		}
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(reports)
	}
	for _, c := range reports {
		for _, x := range c.Findings {
			fmt.Fprintln(out, x.text)
		}
		verdict := "accepted"
		if c.Status != 0 {
			verdict = "rejected"
		}
		if c.summary != "" {
			c.summary = " (" + c.summary + ")"
		}
		if _, err := fmt.Fprintf(out, "%s: %s: %s, %s%s\n", c.File, verdict, count(c.Errors, "error"), count(c.Warnings, "warning"), c.summary); err != nil {
			return err
		}
	}
	return nil
}

// worst is the exit status: that of the file keepalived is least fond of.
func worst(reports []checked) error {
	order := []int{0, 1, 4, 5, 6, 2}
	status := 0
	for _, c := range reports {
		if slices.Index(order, c.Status) > slices.Index(order, status) {
			status = c.Status
		}
	}
	if status == 0 {
		return nil
	}
	return exitStatus(status)
}

// diskFiles are the files of this host, and standard input as -.
type diskFiles struct {
	in    io.Reader
	stdin []byte
	err   error
}

// Read implements keepalived.Files.
func (d *diskFiles) Read(name string) ([]byte, error) {
	if name == "-" {
		if d.in != nil {
			d.stdin, d.err = io.ReadAll(d.in)
			d.in = nil
		}
		return d.stdin, d.err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	if info.Mode()&0o111 != 0 {
		return nil, &os.PathError{Op: "read", Path: name, Err: errors.New("the file is executable; chmod -x")}
	}
	return os.ReadFile(name)
}

// Match implements keepalived.Files.
func (d *diskFiles) Match(pattern string) ([]string, error) {
	if pattern == "-" {
		return []string{"-"}, nil
	}
	return filepath.Glob(pattern)
}

// Executable implements keepalived.Files.
func (d *diskFiles) Executable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
