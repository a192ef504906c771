package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkedBy runs usvs check in a directory of its own.
func checkedBy(t *testing.T, stdin string, args ...string) (out string, status int) {
	t.Helper()
	root := newRoot()
	var b bytes.Buffer
	root.SetOut(&b)
	root.SetIn(strings.NewReader(stdin))
	root.SetArgs(append([]string{"check"}, args...))
	err := root.Execute()
	var exit exitStatus
	if errors.As(err, &exit) {
		return b.String(), int(exit)
	}
	require.NoError(t, err)
	return b.String(), 0
}

const oneServer = "virtual_server 10.9.0.1 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 10.1.0.1 80 {\n}\n}\n"

func TestCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"good.conf":  oneServer,
		"bad.conf":   strings.Replace(oneServer, "lb_algo rr", "lb_algo rrr", 1),
		"fatal.conf": "global_defs {\nsmtp_server\n}\n",
		"inc.conf":   "! one\ninclude sub/*.conf\n",
		"web.rules":  "VIP=10.9.0.1\nipvsadm -A -t $VIP:80 -s rr\necho done\n",
		"bad.rules":  "-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.2:80 -r 10.1.0.1 -g\n",
		"script.sh":  "#!/bin/sh\nipvsadm -C\n",
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	require.NoError(t, os.Chmod("script.sh", 0o755))
	require.NoError(t, os.Mkdir("sub", 0o755))
	require.NoError(t, os.WriteFile("sub/a.conf", []byte("\nfoo\n"), 0o644))
	require.NoError(t, os.WriteFile("exec.conf", []byte(oneServer), 0o755))

	tests := []struct {
		args   string
		status int
		want   []string
	}{
		{"-t good.conf", 0, []string{"good.conf: accepted: 0 errors, 0 warnings (0 vrrp_instances, 1 virtual_server, 1 real_server)\n"}},
		{"bad.conf", 5, []string{"bad.conf:2: error: lb_algo 'rrr'; valid is rr, ", "did you mean rr?", "bad.conf: rejected: 2 errors"}},
		{"-t -f bad.conf", 5, []string{"bad.conf:2: error"}},
		{"bad.conf fatal.conf good.conf", 2, []string{"fatal.conf:2: error: smtp_server without its value; valid is smtp_server ADDRESS", "good.conf: accepted"}},
		{"inc.conf", 5, []string{"sub/a.conf:2: error: unknown keyword 'foo'"}},
		{"none.conf", 4, []string{"none.conf: error: no such file"}},
		{"exec.conf", 4, []string{"the file is executable"}},
		{"sub", 4, []string{"not a regular file"}},
		{"web.rules", 0, []string{"web.rules:3: warning: ignored: echo done", "web.rules: accepted: 0 errors, 1 warning (1 service, 0 servers)"}},
		{"bad.rules", 1, []string{"bad.rules:2: error: Service not defined", "bad.rules: rejected: 1 error, 0 warnings\n"}},
		{"--rules script.sh", 0, []string{"script.sh: accepted"}},
		{"--rules good.conf", 1, []string{"good.conf:1: error: `virtual_server'"}},
		{"--rules none", 1, []string{"none: error: open none"}},
	}
	for _, tt := range tests {
		out, status := checkedBy(t, "", strings.Fields(tt.args)...)
		require.Equal(t, tt.status, status, "%s\n%s", tt.args, out)
		for _, want := range tt.want {
			require.Contains(t, out, want, tt.args)
		}
	}
}

func TestCheckStandardInput(t *testing.T) {
	out, status := checkedBy(t, "-A -t 10.9.0.1:80 -s rr\n", "-")
	require.Zero(t, status, out)
	require.Contains(t, out, "-: accepted: 0 errors, 0 warnings (1 service, 0 servers)")
	out, status = checkedBy(t, "@here foo\n@^here bar\n", "-i", "here", "-")
	require.Equal(t, 5, status)
	require.Contains(t, out, "-:1: error: unknown keyword 'foo'")
	require.NotContains(t, out, "bar")
}

func TestCheckJSON(t *testing.T) {
	out, status := checkedBy(t, "global_defs {\nrouterid x\n}\n", "--json", "-")
	require.Equal(t, 5, status)
	var got []checked
	require.NoError(t, json.Unmarshal([]byte(out), &got), out)
	require.Len(t, got, 1)
	require.Equal(t, "keepalived", got[0].Kind)
	require.Equal(t, 5, got[0].Status)
	require.Equal(t, 1, got[0].Errors)
	f := got[0].Findings[0]
	require.Equal(t, 2, f.Line)
	require.Equal(t, "error", f.Severity)
	require.Contains(t, f.Valid, "router_id")
	out, _ = checkedBy(t, "", "--json", "-")
	require.Contains(t, out, `"findings": []`)
}

// TestCheckExamples: what the examples show is accepted.
func TestCheckExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/keepalived/*.conf")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out, status := checkedBy(t, "", files...)
	require.Zero(t, status, out)
	require.NotContains(t, out, "error:")
}

// TestCheckDoc: what docs/keepalived.md shows is what the command prints.
func TestCheckDoc(t *testing.T) {
	doc, err := os.ReadFile("../../docs/keepalived.md")
	require.NoError(t, err)
	text, err := os.ReadFile("../../examples/keepalived/master.conf")
	require.NoError(t, err)
	wrong := strings.NewReplacer("    router_id director1", "    routerid director1", "priority 150", "priority 150x", " retry 1", " nb_get_retry 1").Replace(string(text))
	wrong = strings.Replace(wrong, "delay_before_retry 1\n        }\n    }\n", "delay_before_retry 1\n", 1)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("keepalived.conf", []byte(wrong), 0o644))
	out, status := checkedBy(t, "", "-t", "keepalived.conf")
	require.Equal(t, 5, status)
	for line := range strings.Lines(out) {
		require.True(t, strings.Contains(string(doc), "    "+line), "docs/keepalived.md should show:\n%s", out)
	}
}

func TestLooksLikeRules(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "# x\n\n": false, "#!/bin/sh\n": true, "# x\nsudo ipvsadm -C\n": true, "/sbin/iptables -t mangle\n": true,
		"-A -t 1.2.3.4:80\n": true, "VIP=1\n": true, "! x\nglobal_defs {\n": false, "vrrp_instance V {\n": false, "$A=1\n": false,
		"include x=y\n": false,
	} {
		require.Equal(t, want, looksLikeRules(text), text)
	}
}
