package vrrp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTakesOverAfterTheMasterDownTimer(t *testing.T) {
	l := newLAN(t)
	a := l.add(one(basic(100)))
	l.run(3609 * time.Millisecond)
	require.Equal(t, Backup, a.state())
	l.run(time.Millisecond)
	require.Equal(t, Master, a.state(), "3.609375 s with priority 100")
}

func TestOrderOfTakingOver(t *testing.T) {
	l := newLAN(t)
	a := l.add(one(basic(100)))
	require.Equal(t, []string{
		"log (VI_1) removing VIPs.", "remove 10.9.0.100", "remove 10.9.0.101",
		"log (VI_1) Entering BACKUP STATE (init)", `notify INSTANCE "VI_1" BACKUP 100`,
	}, a.took())
	l.run(4 * time.Second)
	require.Equal(t, []string{
		"log (VI_1) Receive advertisement timeout",
		"send 100 to 224.0.0.18",
		"log (VI_1) Entering MASTER STATE",
		"log (VI_1) setting VIPs.", "add 10.9.0.100", "add 10.9.0.101",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		`notify INSTANCE "VI_1" MASTER 100`,
	}, a.took("log (VI_1) Sending", "log Sending"))
	a.Stop(l.now)
	require.Equal(t, []string{
		"send 0 to 224.0.0.18", "log (VI_1) sent 0 priority",
		"log (VI_1) removing VIPs.", "remove 10.9.0.100", "remove 10.9.0.101",
		`notify INSTANCE "VI_1" STOP 100`,
	}, a.took())
}

func TestPairFailsOverAndBack(t *testing.T) {
	l := newLAN(t)
	a, b := l.add(one(basic(150))), l.add(one(basic(100)))
	l.run(10 * time.Second)
	require.Equal(t, []State{Master, Backup}, []State{a.state(), b.state()})
	a.Stop(l.now)
	l.run(620 * time.Millisecond)
	require.Equal(t, Master, b.state(), "after skew: priority 0 was heard")
	a.dead = true
	c := l.add(one(basic(200)))
	l.run(4 * time.Second)
	require.Equal(t, []State{Master, Backup}, []State{c.state(), b.state()})
	c.dead = true
	l.run(4 * time.Second)
	require.Equal(t, Master, b.state())
}
