package health

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
)

func TestStatus(t *testing.T) {
	vs := virtual([]Service{serviceOf(tcp, "10.9.9.1", 80)}, 2,
		realAt("10.9.1.1:80", 2, checkOf(TCP, 1, half)),
		realAt("10.9.1.2:80", 3, checkOf(Misc, 2, half).runs("/bin/check", "m"), checkOf(File, 0, 0).follows("load", "/run/load", 1)))
	vs.Sorry = sorryAt("10.9.1.9:80")
	l := newLab(t, &Config{VirtualServers: []*VirtualServer{vs}})
	l.does["/run/load"] = "value 4"
	before := l.m.Status().Services[0].Servers[0].Checks[0]
	assert.False(t, before.Run)
	l.m.Start(0)
	l.set(1.5, "10.9.1.1:80", "failed")
	l.set(1.5, "m", "exit 1")
	l.run(3.2)

	s := l.m.Status().Services[0]
	assert.Equal(t, "[10.9.9.1]:tcp:80", s.Name)
	assert.True(t, s.Up)
	assert.Equal(t, int64(9), s.Weight)
	assert.Equal(t, "[10.9.1.9]:tcp:80", s.Sorry)
	assert.False(t, s.SorryUp)
	assert.False(t, s.Suspended)
	tcpStatus := s.Servers[0].Checks[0]
	assert.Equal(t, CheckStatus{
		Kind: "TCP_CHECK", Target: "[10.9.1.1]:tcp:80", Path: "direct", Up: true, Run: true, Last: "failure", Reason: "failed",
		Ended: clock.Instant(3002 * time.Millisecond), Retries: 1, Retry: 1, Attempts: 2, Failures: 1,
		Next: clock.Instant(3502 * time.Millisecond),
	}, tcpStatus)
	script, file := s.Servers[1].Checks[0], s.Servers[1].Checks[1]
	assert.Equal(t, "/bin/check", script.Target)
	assert.Equal(t, 1, script.Retries)
	assert.Equal(t, "/run/load", file.Target)
	assert.True(t, file.Running, "it is watched")
	assert.Zero(t, file.Next)
	assert.Equal(t, int32(7), s.Servers[1].Weight)

	l.run(4)
	s = l.m.Status().Services[0]
	assert.False(t, s.Servers[0].Up)
	assert.Equal(t, 1, s.Servers[0].Changes)
	assert.Equal(t, clock.Instant(3503*time.Millisecond), s.Servers[0].Since)
	_, err := json.Marshal(l.m.Status())
	require.NoError(t, err)
}
