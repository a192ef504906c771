package notify

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// post is an SMTP server in memory. What it answers to a command may be
// replaced.
type post struct {
	replace map[string]string // by the command's first word; "" is the greeting
	silent  string            // a command it does not answer

	mu    sync.Mutex
	heard []string // guarded by mu; commands and mails, in order
	conns int      // guarded by mu
}

func (s *post) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	s.mu.Lock()
	s.conns++
	s.mu.Unlock()
	go s.serve(theirs)
	return ours, nil
}

func (s *post) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	if !s.say(c, "", "220 hello") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		s.hear(strings.TrimSpace(line))
		if word == s.silent {
			_, _ = io.Copy(io.Discard, r)
			return
		}
		switch word {
		case "DATA":
			if !s.say(c, word, "354 go on") || s.replace[word] != "" {
				continue
			}
			text := ""
			for !strings.HasSuffix(text, "\r\n.\r\n") {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				text += line
			}
			s.hear(text)
			s.say(c, ".", "250 taken")
		case "QUIT":
			s.say(c, word, "221 bye")
			return
		case "EHLO":
			s.say(c, word, "502 what?")
		default:
			s.say(c, word, "250 well")
		}
	}
}

func (s *post) hear(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, text)
}

func (s *post) say(c net.Conn, word, usual string) bool {
	if other, ok := s.replace[word]; ok {
		usual = other
	}
	_, err := io.WriteString(c, usual+"\r\n")
	return err == nil && !strings.HasPrefix(usual, "5")
}

func (s *post) config(l *logged) MailConfig {
	return MailConfig{
		Server: "mail.example.com:25", ConnectTimeout: 5 * time.Second, Helo: "node1", From: "me@example.com",
		To: []string{"a@example.com", "Bee <b@example.com>"}, Dial: s.dial, Log: l.log,
	}
}

// The commands and the mail are those that keepalived 2.2.7 sends, but for the
// mailer's name, EHLO, and the address of who has a name.
func TestMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := &post{}, newLogged()
		m := NewMailer(s.config(l))
		m.Send("[R1] VRRP Instance V - Entering MASTER state", "=> VRRP Instance is now owning VRRP VIPs <=\n")
		m.Close(t.Context())
		assert.Equal(t, []string{
			"EHLO node1", "HELO node1", "MAIL FROM:<me@example.com>", "RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>", "DATA",
			"Date: " + time.Now().Format(time.RFC1123Z) + "\r\n" +
				"From: me@example.com\r\n" +
				"Subject: [R1] VRRP Instance V - Entering MASTER state\r\n" +
				"X-Mailer: usvs\r\n" +
				"To: a@example.com, Bee <b@example.com>\r\n" +
				"\r\n" +
				"=> VRRP Instance is now owning VRRP VIPs <=\r\n" +
				".\r\n",
			"QUIT",
		}, s.heard)
		assert.Equal(t, []string{"1 Remote SMTP server mail.example.com:25 connected.", "0 SMTP alert successfully sent."}, l.lines)
	})
}

func TestMailsKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := &post{}, newLogged()
		m := NewMailer(s.config(l))
		for i := range 20 {
			m.Send(fmt.Sprint("mail ", i), "")
		}
		m.Close(t.Context())
		m.Send("too late", "")
		m.Close(t.Context())
		assert.Equal(t, 20, s.conns, "a connection each")
		var subjects []string
		for _, text := range s.heard {
			if msg, err := mail.ReadMessage(strings.NewReader(text)); err == nil && msg.Header.Get("Subject") != "" {
				subjects = append(subjects, msg.Header.Get("Subject"))
			}
		}
		require.Len(t, subjects, 20)
		for i, subject := range subjects {
			assert.Equal(t, fmt.Sprint("mail ", i), subject)
		}
	})
}

func TestMailThatIsNotTaken(t *testing.T) {
	for name, c := range map[string]struct {
		s    *post
		want string
		took time.Duration
	}{
		"no greeting":       {&post{replace: map[string]string{"": "554 no"}}, "554", 0},
		"no sender":         {&post{replace: map[string]string{"MAIL": "550 who?"}}, "550", 0},
		"no receiver":       {&post{replace: map[string]string{"RCPT": "550 whom?"}}, "550", 0},
		"no text":           {&post{replace: map[string]string{"DATA": "554 what?"}}, "554", 0},
		"not after all":     {&post{replace: map[string]string{".": "554 spam"}}, "554", 0},
		"garbage":           {&post{replace: map[string]string{"": "x"}}, "short response", 0},
		"endless answers":   {&post{replace: map[string]string{"MAIL": strings.Repeat("250-x\r\n", 100000)}}, errTalkative.Error(), 0},
		"an endless answer": {&post{replace: map[string]string{"MAIL": strings.Repeat("250-x", 100000)}}, errTalkative.Error(), 0},
		"silence":           {&post{silent: "DATA"}, "timeout", mailAttempts * 5 * time.Second},
		"QUIT is too late":  {&post{replace: map[string]string{"QUIT": "500 stay"}}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, began := newLogged(), time.Now()
				m := NewMailer(c.s.config(l))
				m.Send("subject", "body")
				m.Close(t.Context())
				assert.Equal(t, c.took, time.Since(began))
				last := l.lines[len(l.lines)-1]
				if c.want == "" {
					assert.Equal(t, "0 SMTP alert successfully sent.", last)
					return
				}
				assert.Contains(t, last, `2 SMTP alert "subject" not sent`)
				assert.Contains(t, last, c.want)
				assert.Equal(t, mailAttempts, c.s.conns)
			})
		})
	}
}

// Attempts are made again after 1, 5 and 25 seconds, and at once when there is
// no time left.
func TestMailIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, began := &post{replace: map[string]string{"": "421 busy"}}, newLogged(), time.Now()
		m := NewMailer(s.config(l))
		m.Send("subject", "body")
		for !strings.Contains(<-l.more, "not sent") {
		}
		assert.Equal(t, 31*time.Second, time.Since(began))
		assert.Equal(t, mailAttempts, s.conns)
		m.Send("subject", "body")
		time.Sleep(500 * time.Millisecond)
		began = time.Now()
		m.Close(t.Context())
		assert.Zero(t, time.Since(began))
		assert.Equal(t, 2*mailAttempts, s.conns)
	})
}

// The caller does not wait, mails that are too many are dropped, and Close does
// not wait longer than it may.
func TestAMailServerThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogged()
		c := (&post{}).config(l)
		c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		m := NewMailer(c)
		began := time.Now()
		for range mailQueue + 10 {
			m.Send("subject", "body")
		}
		assert.Zero(t, time.Since(began))
		assert.Contains(t, l.next(t), "one is dropped")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m.Close(ctx)
		assert.Equal(t, time.Minute, time.Since(began))
	})
}

func TestMailWithoutReceivers(t *testing.T) {
	s, l := &post{}, newLogged()
	c := s.config(l)
	c.To = nil
	m := NewMailer(c)
	m.Send("subject", "body")
	m.Close(t.Context())
	assert.Zero(t, s.conns)
}

func TestMailDefaults(t *testing.T) {
	m := NewMailer(MailConfig{})
	m.Close(t.Context())
	assert.NotEmpty(t, m.config.Helo)
	assert.Contains(t, m.config.From, "@")
	assert.Equal(t, 30*time.Second, m.config.ConnectTimeout)
}

// Nothing in a subject becomes a header, and no line of a body ends the mail.
func TestMessagesAreWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := &post{}, newLogged()
		m := NewMailer(s.config(l))
		m.Send("x\r\nBcc: evil@example.com\r\n\r\nbody", "one\r\n.\r\ntwo\r\n")
		m.Close(t.Context())
		msg, err := mail.ReadMessage(strings.NewReader(s.heard[6]))
		require.NoError(t, err)
		assert.Equal(t, "x Bcc: evil@example.com body", msg.Header.Get("Subject"))
		assert.Empty(t, msg.Header.Get("Bcc"))
		body, err := io.ReadAll(msg.Body)
		require.NoError(t, err)
		assert.Equal(t, "one\r\n..\r\ntwo\r\n.\r\n", string(body))
		assert.Equal(t, "QUIT", s.heard[7])
	})
}

func FuzzMessage(f *testing.F) {
	f.Add("subject", "body")
	f.Add("a\r\nb: c", "\n.\n")
	f.Fuzz(func(t *testing.T, subject, body string) {
		m := &Mailer{config: MailConfig{From: "a@example.com", To: []string{"b@example.com"}}}
		msg, err := mail.ReadMessage(strings.NewReader(string(m.message(letter{subject: subject, body: body}))))
		if err != nil {
			t.Skip(err) // bytes that net/mail does not take in a header
		}
		if len(msg.Header) != 5 {
			t.Fatalf("%q makes headers: %v", subject, msg.Header)
		}
	})
}

func TestAddress(t *testing.T) {
	for mailbox, want := range map[string]string{
		"a@example.com": "a@example.com", "Bee <b@example.com>": "b@example.com", "<c@example.com>": "c@example.com", "<d": "d", "": "",
	} {
		assert.Equal(t, want, address(mailbox))
	}
}
