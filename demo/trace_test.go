package demo

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// traceLine is an event as `usvs trace --json` prints it.
func traceLine(before []byte, after ...[]byte) string {
	var outs []string
	for _, b := range after {
		outs = append(outs, fmt.Sprintf(`{"Port":0,"Host":false,"Data":%q}`, base64.StdEncoding.EncodeToString(b)))
	}
	return fmt.Sprintf(`{"Now":1,"Port":0,"Before":%q,"After":[%s],"Reason":0,"Server":"","Method":""}`+"\n",
		base64.StdEncoding.EncodeToString(before), strings.Join(outs, ","))
}

func mustTrace(t *testing.T, text string) []event {
	t.Helper()
	events, err := parseTrace(text)
	require.NoError(t, err)
	return events
}

func TestParseTrace(t *testing.T) {
	p := goodPassage("dr")
	events := mustTrace(t, traceLine(p.before, p.after)+`{"Before":"AA`)
	require.Len(t, events, 1, "an unfinished line is left for later")
	assert.Equal(t, p.before, events[0].Before)
	assert.Equal(t, p.after, events[0].After[0].Data)
	_, err := parseTrace("{\"Before\":17}\n")
	assert.Error(t, err)
	assert.Empty(t, mustTrace(t, "usvs: not JSON\n"))
}

// The first packet waits for its next hop's MAC and leaves because of the ARP
// answer; another connection's packet comes between.
func TestFirstSYNThatWaited(t *testing.T) {
	vip := scenes["nat"]().vip
	p := goodPassage("nat")
	arp := ethernet(rs2NAT, insideMAC)
	wire.EthernetHeader(arp).SetType(wire.TypeARP)
	other := synTo(vip.String())
	other.src = "10.10.100.2:40001"
	events := mustTrace(t,
		traceLine(segment{clientMAC, directorMAC, cip, "10.10.100.1:9", 0, 64}.frame())+
			traceLine(p.before, arp)+
			traceLine(other.frame(), other.frame())+
			traceLine(arp, p.after))
	got, ok := firstSYN(events, vip)
	assert.True(t, ok)
	assert.Equal(t, p, got)

	_, ok = firstSYN(events[:3], vip)
	assert.False(t, ok, "it has not left yet")
	_, ok = firstSYN(events, netip.MustParseAddrPort("192.0.2.1:80"))
	assert.False(t, ok)
}

func TestFirstAnswer(t *testing.T) {
	request, answer := goodPassage("nat"), natAnswer()
	events := mustTrace(t, traceLine(request.before, request.after)+traceLine(answer.before, answer.after))
	got, ok := firstAnswer(events, request)
	assert.True(t, ok)
	assert.Equal(t, answer, got)
	_, ok = firstAnswer(events[:1], request)
	assert.False(t, ok)
	_, ok = firstAnswer(events, passage{})
	assert.False(t, ok)
}

func TestAnswersSeen(t *testing.T) {
	request, answer := goodPassage("nat"), natAnswer()
	events := mustTrace(t, traceLine(request.before)+traceLine(answer.before)+traceLine(nil))
	segments, answers := answersSeen(events, 80)
	assert.Equal(t, 2, segments)
	assert.Equal(t, 1, answers)
}

func TestCheckForwarded(t *testing.T) {
	for _, mode := range Modes {
		s := scenes[mode]()
		assert.NoError(t, s.checkForwarded(goodPassage(mode)), mode)
		for _, other := range Modes {
			if other != mode {
				assert.Error(t, s.checkForwarded(goodPassage(other)), "%s forwarded as %s", mode, other)
			}
		}
	}
	came := synTo("10.10.100.107:80")
	for _, tc := range []struct {
		name string
		left segment
		want string
	}{
		{"source changed", segment{directorMAC, rs2DR, "10.10.100.1:40000", "10.10.100.107:80", syn, 63}, "another source"},
		{"VIP changed", segment{directorMAC, rs2DR, cip, "10.10.100.112:80", syn, 63}, "instead of the VIP"},
		{"nothing changed", came, "MAC addresses"},
	} {
		err := scenes["dr"]().checkForwarded(passage{came.frame(), tc.left.frame()})
		assert.ErrorContains(t, err, tc.want, tc.name)
	}
	assert.Error(t, scenes["dr"]().checkForwarded(passage{}))
}

func TestCheckAnswer(t *testing.T) {
	s := scenes["nat"]()
	good := natAnswer()
	assert.NoError(t, s.checkAnswer(good))
	assert.ErrorContains(t, s.checkAnswer(passage{good.before, good.before}), "instead of the VIP")
	assert.ErrorContains(t, s.checkAnswer(passage{good.after, good.after}), "no real server")
	assert.Error(t, s.checkAnswer(passage{}))
}
