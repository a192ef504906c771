package marks

import "fmt"

// Error is a refused command: what iptables would say, and its exit status.
type Error struct {
	Text string
	Code int  // 1: no such rule or chain; 2: wrong usage; 3: no such table
	bare bool // printed without the program's name
}

func (e *Error) Error() string { return e.Text }

// Message is what the program of that name (iptables, ip6tables) writes to its
// standard error, with the newline at the end.
func (e *Error) Message(program string) string {
	text := e.Text
	if !e.bare {
		text = program + ": " + text
	}
	if e.Code == 2 {
		text += fmt.Sprintf("\nTry `%s -h' or '%s --help' for more information.", program, program)
	}
	return text + "\n"
}

func usage(format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), Code: 2}
}

func failure(text string) error { return &Error{Text: text, Code: 1} }

func badArgument(word string) error {
	return &Error{Text: fmt.Sprintf("Bad argument `%s'", word), Code: 2, bare: true}
}

// What there is, for errors about what there is not.
const (
	knownCommands = "-A, -C, -D, -I, -R, -F, -Z, -L and -S"
	knownMatches  = "tcp, udp, sctp, multiport and mark"
	knownTargets  = "MARK, ACCEPT and RETURN"
	knownOptions  = "-s, -d, -i, -p, -m, -j, --sport, --dport, --sports, --dports, --ports, --mark, " +
		"--set-mark, --set-xmark, --and-mark, --or-mark, --xor-mark, -n, -v, -x, --line-numbers and -w"
)
