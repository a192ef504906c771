package ipvsadm

import "strings"

// scanner takes a command line apart as popt does: long options in full, short
// ones also in bundles, arguments in the same word or the next, and everything
// else put aside.
type scanner struct {
	args     []string
	pos      int      // the next of args
	bundle   string   // short options not yet seen of the last of args
	aside    []string // words that are no options
	onlyRest bool     // "--" was seen
}

// token is a word as given.
type token struct {
	word   *word
	arg    string
	hasArg bool
}

// next returns the next option, or false at the end of the line.
func (s *scanner) next() (token, bool, *verdict) {
	if s.bundle != "" {
		return s.short()
	}
	for s.pos < len(s.args) {
		arg := s.args[s.pos]
		s.pos++
		switch {
		case s.onlyRest, !strings.HasPrefix(arg, "-"), arg == "-":
			s.aside = append(s.aside, arg)
		case arg == "--":
			s.onlyRest = true
		case strings.HasPrefix(arg, "--"):
			return s.long(arg[2:])
		default:
			s.bundle = arg[1:]
			return s.short()
		}
	}
	return token{}, false, nil
}

// last is the word that was read last, for messages.
func (s *scanner) last() string { return s.args[s.pos-1] }

func (s *scanner) long(text string) (token, bool, *verdict) {
	name, arg, hasArg := strings.Cut(text, "=")
	w := longWord(name)
	if w == nil {
		return token{}, false, badOption(s.last(), "unknown option")
	}
	if hasArg {
		if w.arg == noArgument {
			return token{}, false, badOption(s.last(), "option does not take an argument")
		}
		return token{word: w, arg: arg, hasArg: true}, true, nil
	}
	return s.argument(w)
}

func (s *scanner) short() (token, bool, *verdict) {
	w := shortWord(s.bundle[0])
	if w == nil {
		return token{}, false, badOption(s.last(), "unknown option")
	}
	rest := s.bundle[1:]
	s.bundle = ""
	if w.arg == noArgument {
		if strings.HasPrefix(rest, "=") {
			return token{}, false, badOption(s.last(), "option does not take an argument")
		}
		s.bundle = rest
		return token{word: w}, true, nil
	}
	if rest != "" {
		return token{word: w, arg: strings.TrimPrefix(rest, "="), hasArg: true}, true, nil
	}
	return s.argument(w)
}

// argument takes w's argument, if it has one, from the next word. An optional
// argument cannot look like an option.
func (s *scanner) argument(w *word) (token, bool, *verdict) {
	if w.arg == noArgument {
		return token{word: w}, true, nil
	}
	if s.pos == len(s.args) {
		if w.arg == needsArgument {
			return token{}, false, badOption(s.last(), "missing argument")
		}
		return token{word: w}, true, nil
	}
	if w.arg == mayHaveArgument && strings.HasPrefix(s.args[s.pos], "-") {
		return token{word: w}, true, nil
	}
	s.pos++
	return token{word: w, arg: s.last(), hasArg: true}, true, nil
}

func longWord(name string) *word { return longWords[name] }

func shortWord(c byte) *word { return shortWords[c] }

// longWords and shortWords are words by name.
var longWords, shortWords = wordsByName()

func wordsByName() (long map[string]*word, short [256]*word) {
	long = make(map[string]*word, len(words))
	for i := range words {
		w := &words[i]
		if w.long != "" {
			long[w.long] = w
		}
		if w.short != 0 {
			short[w.short] = w
		}
	}
	return long, short
}
