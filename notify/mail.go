package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"strings"
	"sync"
	"time"
)

// Limits of mail.
const (
	mailQueue    = 1000        // mails that wait
	mailAttempts = 4           // for each mail
	mailRetry    = time.Second // before the second attempt
	mailSlower   = 5           // times as long before each further one
	mailLifetime = 10          // of an attempt, in timeouts
	mailAnswers  = 64 << 10    // of a server, in bytes
)

// MailConfig is what mails are sent by.
type MailConfig struct {
	// Server is smtp_server with its port.
	Server string
	// ConnectTimeout is smtp_connect_timeout; it is the limit of each
	// exchange with the server, too.
	ConnectTimeout time.Duration
	// Helo is smtp_helo_name, or empty for the host's name.
	Helo string
	From string
	To   []string
	// Dial connects; nil stands for net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log may be nil.
	Log Log
}

// letter is a mail that waits to be sent.
type letter struct {
	at            time.Time
	subject, body string
}

// Mailer sends mails in the order they come, one connection each. It is safe
// for concurrent use.
type Mailer struct {
	config MailConfig
	ctx    context.Context
	stop   context.CancelFunc
	hurry  chan struct{} // closed when there is no time to wait between attempts
	done   chan struct{}

	mu     sync.Mutex
	queue  chan letter // closed under mu
	closed bool        // guarded by mu
}

// NewMailer returns a Mailer.
func NewMailer(c MailConfig) *Mailer {
	if c.Log == nil {
		c.Log = func(Level, string) {}
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = 30 * time.Second
	}
	if c.Helo == "" {
		c.Helo = hostname()
	}
	if c.From == "" {
		c.From = "usvs@" + hostname()
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	m := &Mailer{config: c, queue: make(chan letter, mailQueue), hurry: make(chan struct{}), done: make(chan struct{})}
	m.ctx, m.stop = context.WithCancel(context.Background())
	go m.run()
	return m
}

func hostname() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "localhost"
}

// Send queues a mail.
func (m *Mailer) Send(subject, body string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.config.To) == 0 {
		return
	}
	select {
	case m.queue <- letter{time.Now(), subject, body}:
	default:
		m.config.Log(Warning, "too many mails are waiting, one is dropped: "+subject)
	}
}

// Close sends what waits, without pauses between attempts, until the context
// is done.
func (m *Mailer) Close(ctx context.Context) {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.queue)
		close(m.hurry)
	}
	m.mu.Unlock()
	defer context.AfterFunc(ctx, m.stop)()
	<-m.done
	m.stop()
}

func (m *Mailer) run() {
	defer close(m.done)
	for one := range m.queue {
		m.attempts(one)
	}
}

// attempts sends a mail, and tries again a few times if that fails: the next
// in the queue waits meanwhile, so that order is kept.
func (m *Mailer) attempts(one letter) {
	for n, pause := 1, mailRetry; ; n, pause = n+1, mailSlower*pause {
		err := m.send(one)
		switch {
		case err == nil:
			m.config.Log(Info, "SMTP alert successfully sent.")
			return
		case n == mailAttempts || m.ctx.Err() != nil:
			m.config.Log(Warning, fmt.Sprintf("SMTP alert %q not sent: %v", one.subject, err))
			return
		}
		m.config.Log(Detail, fmt.Sprintf("SMTP alert %q: attempt %d: %v", one.subject, n, err))
		select {
		case <-time.After(pause):
		case <-m.hurry:
		}
	}
}

// send sends one mail.
func (m *Mailer) send(one letter) error {
	ctx, cancel := context.WithTimeout(m.ctx, m.config.ConnectTimeout)
	defer cancel()
	conn, err := m.config.Dial(ctx, "tcp", m.config.Server)
	if err != nil {
		return fmt.Errorf("connecting SMTP server %s: %w", m.config.Server, err)
	}
	defer conn.Close()
	m.config.Log(Detail, fmt.Sprintf("Remote SMTP server %s connected.", m.config.Server))
	defer context.AfterFunc(m.ctx, func() { conn.Close() })()
	limit := m.config.ConnectTimeout
	p := &patient{conn, limit, time.Now().Add(mailLifetime * limit), mailAnswers}
	if err := m.talk(p, one); err != nil {
		return fmt.Errorf("SMTP server %s: %w", m.config.Server, err)
	}
	return nil
}

// talk is the dialogue of RFC 5321, without extensions.
func (m *Mailer) talk(conn net.Conn, one letter) error {
	host, _, _ := net.SplitHostPort(m.config.Server)
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	if err := c.Hello(m.config.Helo); err != nil {
		return err
	}
	if err := c.Mail(address(m.config.From)); err != nil {
		return err
	}
	for _, to := range m.config.To {
		if err := c.Rcpt(address(to)); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(m.message(one)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the mail is the server's already
	return nil
}

// address is the part of a mailbox between < and >.
func address(mailbox string) string {
	_, rest, ok := strings.Cut(mailbox, "<")
	if !ok {
		return mailbox
	}
	inner, _, _ := strings.Cut(rest, ">")
	return inner
}

// message is the mail with its headers, as keepalived orders them.
func (m *Mailer) message(one letter) []byte {
	var b strings.Builder
	header := func(name, value string) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, strings.Join(strings.Fields(value), " "))
	}
	header("Date", one.at.Format(time.RFC1123Z))
	header("From", m.config.From)
	header("Subject", one.subject)
	header("X-Mailer", "usvs")
	header("To", strings.Join(m.config.To, ", "))
	b.WriteString("\r\n")
	b.WriteString(strings.TrimRight(one.body, "\r\n"))
	b.WriteString("\r\n")
	return []byte(b.String())
}

// errTalkative ends a dialogue with a server that says too much.
var errTalkative = errors.New("the server's answers are too long")

// patient gives every read and write of a connection a time of its own, within
// that of the whole, and bounds what is read.
type patient struct {
	net.Conn
	limit time.Duration
	end   time.Time
	left  int // bytes to read
}

func (p *patient) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, errTalkative
	}
	if err := p.SetReadDeadline(p.deadline()); err != nil {
		return 0, err
	}
	n, err := p.Conn.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(p.deadline()); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

func (p *patient) deadline() time.Time {
	step := time.Now().Add(p.limit)
	if step.After(p.end) {
		return p.end
	}
	return step
}
