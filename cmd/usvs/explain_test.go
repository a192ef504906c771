package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"usvs/explain"
	"usvs/wire"
)

var update = flag.Bool("update", false, "write what the commands of docs/explain.md print into it")

const explainDoc = "../../docs/explain.md"

// What docs/explain.md shows is what its commands print.
func TestExplainDoc(t *testing.T) {
	text, err := os.ReadFile(explainDoc)
	require.NoError(t, err)
	doc, err := filepath.Abs(explainDoc)
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.Contains(t, string(text), explain.Grammar)
	shown := string(text)
	now := rerun(t, shown)
	if *update {
		require.NoError(t, os.WriteFile(doc, []byte(now), 0o644))
		return
	}
	require.Equal(t, now, shown, "to bring it up to date: go test ./cmd/usvs -run TestExplainDoc -update")
}

// rerun executes the commands of the document's console blocks and returns it
// with what they print: `cat FILE` makes the file of what stands below.
func rerun(t *testing.T, doc string) string {
	var out strings.Builder
	console, file, commands := false, "", 0
	for line := range strings.Lines(doc) {
		words := shellWords(strings.TrimSpace(strings.TrimPrefix(line, "$ ")))
		command := console && strings.HasPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			console, file = strings.HasPrefix(line, "```console"), ""
		case command && words[0] == "cat":
			file, commands = words[1], commands+1
			require.NoError(t, os.WriteFile(file, nil, 0o600))
		case command && !strings.Contains(line, "   reads"):
			out.WriteString(line)
			out.WriteString(explainedBy(t, words))
			file, commands = "", commands+1
			continue
		case console && file != "":
			appendTo(t, file, line)
		case console && !command && !strings.HasPrefix(line, "#"):
			continue // what the command printed then
		}
		out.WriteString(line)
	}
	require.Greater(t, commands, 15)
	return out.String()
}

func appendTo(t *testing.T, file, line string) {
	old, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, append(old, line...), 0o600))
}

// explainedBy runs one command.
func explainedBy(t *testing.T, words []string) string {
	require.Equal(t, []string{"usvs", "explain"}, words[:2])
	var out bytes.Buffer
	cmd := newExplainCmd()
	cmd.SetOut(&out)
	cmd.SetArgs(words[2:])
	require.NoError(t, cmd.Execute(), words)
	return out.String()
}

// shellWords splits a line at blanks outside single quotes.
func shellWords(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return append(words, "")[:max(len(words), 1)]
}

// A capture is explained frame by frame, as far as it is asked for, and answers
// can be had as JSON. A packet that was not quoted is one all the same.
func TestExplainCapture(t *testing.T) {
	dir := t.TempDir()
	rules, capture := filepath.Join(dir, "web.rules"), filepath.Join(dir, "web.pcap")
	require.NoError(t, os.WriteFile(rules, []byte("-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.1:80 -r 10.2.0.1 -g\n"), 0o600))
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	require.NoError(t, w.WriteFileHeader(65535, layers.LinkTypeEthernet))
	for _, text := range []string{"tcp 198.51.100.7:1 > 10.9.0.1:80 S", "tcp 198.51.100.7:1 > 10.9.0.1:80 A", "icmp 198.51.100.7 > 10.9.0.1"} {
		p, err := explain.ParsePacket(text)
		require.NoError(t, err)
		b := p.Frames(wire.MAC{2, 1}, wire.MAC{2, 2})[0].Bytes()
		require.NoError(t, w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(b), Length: len(b)}, b))
	}
	require.NoError(t, os.WriteFile(capture, file.Bytes(), 0o600))
	verdicts := func(args ...string) (list []string) {
		var r explain.Report
		require.NoError(t, json.Unmarshal([]byte(explainedBy(t, append([]string{"usvs", "explain", "--json", "--rules", rules}, args...))), &r))
		for _, f := range r.Frames {
			list = append(list, f.Verdict+" "+f.Server)
		}
		return list
	}
	require.Equal(t, []string{"forwarded 10.2.0.1:80", "forwarded 10.2.0.1:80", "answered "}, verdicts("--pcap", capture))
	require.Equal(t, []string{"forwarded 10.2.0.1:80", "forwarded 10.2.0.1:80"}, verdicts("--pcap", capture, "-c", "2"))
	require.Equal(t, []string{"forwarded 10.2.0.1:80"}, verdicts("tcp", "1.2.3.4:5", ">", "10.9.0.1:80", "S"))
}

func TestExplainErrors(t *testing.T) {
	dir := t.TempDir()
	rules := filepath.Join(dir, "web.rules")
	require.NoError(t, os.WriteFile(rules, []byte("ipvsadm -A -t 10.9.0.1:80 -s rr\nipvsadm -a -t 10.9.0.2:80 -r 10.2.0.1 -g\n"), 0o600))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{}, "which packet?"},
		{[]string{"--rules", "nowhere", "tcp 1.2.3.4:5 > 10.9.0.1:80"}, "nowhere"},
		{[]string{"--rules", rules, "tcp 1.2.3.4:5 > 10.9.0.1:80"}, "web.rules:2:"},
		{[]string{"--rules", rules, "--own", "me", "tcp 1.2.3.4:5 > 10.9.0.1:80"}, "--own"},
		{[]string{"--pcap", "nowhere"}, "nowhere"},
		{[]string{"--pcap", rules}, "pcap"},
		{[]string{"--iface", "eth0", "tcp 1.2.3.4:5 > 10.9.0.1:80"}, "running director"},
	} {
		cmd := newExplainCmd()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(tt.args)
		require.ErrorContains(t, cmd.Execute(), tt.want, tt.args)
	}
}
