package ipvsadm

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// shell is as much of a shell as the recordings need: words with quotes,
// pipes, redirections, and lists of commands.
type shell struct {
	backend  Backend
	resolver Resolver
	files    map[string]string
}

// run executes a line and returns what it wrote and its exit status.
func (sh *shell) run(line string) (stdout, stderr string, status int, err error) {
	words, err := shellWords(line)
	if err != nil {
		return "", "", 0, err
	}
	var out, errs bytes.Buffer
	for _, list := range splitWords(words, ";") {
		in := ""
		pipe := splitWords(list, "|")
		for i, simple := range pipe {
			var piped bytes.Buffer
			sink := io.Writer(&out)
			if i < len(pipe)-1 {
				sink = &piped
			}
			if status, err = sh.simple(simple, in, sink, &errs); err != nil {
				return "", "", 0, err
			}
			in = piped.String()
		}
	}
	return out.String(), errs.String(), status, nil
}

// simple executes one command with its redirections.
func (sh *shell) simple(words []shellWord, in string, stdout, stderr io.Writer) (int, error) {
	var args []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case !w.operator:
			args = append(args, w.text)
		case w.text == "<":
			i++
			in = sh.files[words[i].text]
		case w.text == ">":
			i++
			var file bytes.Buffer
			stdout = &file
			defer func() { sh.files[words[len(words)-1].text] = file.String() }()
		case w.text == "2>&1":
			stderr = stdout
		}
	}
	stdin := strings.NewReader(in)
	switch args[0] {
	case "ipvsadm":
		return Run(args, sh.backend, sh.resolver, stdin, stdout, stderr), nil
	case "ipvsadm-save":
		return RunSave(args, sh.backend, sh.resolver, stdin, stdout, stderr), nil
	case "ipvsadm-restore":
		return RunRestore(args, sh.backend, sh.resolver, stdin, stdout, stderr), nil
	case "printf":
		text := args[1]
		if text == "--" {
			text = args[2]
		}
		io.WriteString(stdout, strings.ReplaceAll(text, `\n`, "\n"))
	case "cat":
		io.WriteString(stdout, sh.files[args[1]])
	default:
		return 0, fmt.Errorf("no command %s", args[0])
	}
	return 0, nil
}

type shellWord struct {
	text     string
	operator bool
}

var shellOperators = []string{"2>&1", ";", "|", "<", ">"}

// shellWords splits a line at blanks and operators.
func shellWords(line string) ([]shellWord, error) {
	var words []shellWord
	var word strings.Builder
	inWord := false
	end := func() {
		if inWord {
			words = append(words, shellWord{text: word.String()})
		}
		word.Reset()
		inWord = false
	}
	for line != "" {
		if op := shellOperator(line, inWord); op != "" {
			end()
			words = append(words, shellWord{op, true})
			line = line[len(op):]
			continue
		}
		switch c := line[0]; c {
		case ' ':
			end()
			line = line[1:]
		case '\'', '"':
			quoted, rest, ok := strings.Cut(line[1:], string(c))
			if !ok {
				return nil, fmt.Errorf("unclosed quote: %s", line)
			}
			word.WriteString(quoted)
			inWord, line = true, rest
		default:
			word.WriteByte(c)
			inWord, line = true, line[1:]
		}
	}
	end()
	return words, nil
}

func shellOperator(line string, inWord bool) string {
	for _, op := range shellOperators {
		if strings.HasPrefix(line, op) && !(inWord && op == "2>&1") {
			return op
		}
	}
	return ""
}

func splitWords(words []shellWord, operator string) [][]shellWord {
	var lists [][]shellWord
	start := 0
	for i, w := range words {
		if w.operator && w.text == operator {
			lists = append(lists, words[start:i])
			start = i + 1
		}
	}
	return append(lists, words[start:])
}
