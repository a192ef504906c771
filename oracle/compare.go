package oracle

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"usvs/wire"
)

// lateSeconds is by how much the recorded remaining time of a connection may
// be below the replay's: recording took real time.
const lateSeconds = 4

func compareVerdict(want []string, got []Emission) string {
	have := []string{}
	for _, e := range got {
		have = append(have, verdict(e))
	}
	if len(have) == 0 {
		have = []string{"none"}
	}
	if slices.Equal(want, have) {
		return ""
	}
	return fmt.Sprintf("recorded %v, here %v", want, have)
}

func compareFrames(want, got []Emission) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("frame %d of %d is missing:\n  recorded %s", i+1, len(want), show(want[i]))
		case i >= len(want):
			return fmt.Sprintf("one frame too many:\n  here     %s", show(got[i]))
		}
		a, b := want[i], got[i]
		if a.Link != b.Link || !bytes.Equal(maskFrame(a.Data), maskFrame(b.Data)) {
			return fmt.Sprintf("frame %d differs:\n  recorded %s\n  here     %s", i+1, show(a), show(b))
		}
	}
	return ""
}

func show(e Emission) string { return e.Link + " " + hex.EncodeToString(e.Data) }

// maskFrame zeroes what does not repeat: the identification, with the header
// checksum, of packets the director made itself.
func maskFrame(data []byte) []byte {
	b := bytes.Clone(data)
	var p wire.Packet
	if p.Parse(b, wire.Ethernet) != wire.None || p.Version != 4 {
		return b
	}
	own := p.IsICMPError() || p.Proto == wire.ProtoTCP && p.TCPFlags&wire.FlagRST != 0
	tunnel := p.Proto == wire.ProtoIPIP || p.Proto == wire.ProtoIPv6 || p.Proto == wire.ProtoGRE
	h := p.V4()
	if (own || tunnel) && !(tunnel && h.DF()) {
		h.SetID(0)
		h.SetChecksum(0)
	}
	return b
}

func compareText(what string, want []string, got string) string {
	have := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if got == "" {
		have = nil
	}
	if len(have) > 0 && strings.HasPrefix(have[0], "IPVS connection entries") {
		return compareConns(want, have)
	}
	if slices.Equal(want, have) {
		return ""
	}
	return fmt.Sprintf("%s differ\nrecorded:\n%s\nhere:\n%s", what, strings.Join(want, "\n"), strings.Join(have, "\n"))
}

// compareConns compares connection listings as sets, the remaining time with
// its tolerance.
func compareConns(want, have []string) string {
	left := slices.Clone(have)
	for _, row := range want {
		i := slices.IndexFunc(left, func(h string) bool { return sameConn(row, h) })
		if i < 0 {
			return fmt.Sprintf("no entry like\n%s\nhere:\n%s", row, strings.Join(have, "\n"))
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		return fmt.Sprintf("entries too many:\n%s", strings.Join(left, "\n"))
	}
	return ""
}

func sameConn(a, b string) bool {
	fa, fb := strings.Fields(a), strings.Fields(b)
	if len(fa) != len(fb) || len(fa) < 3 {
		return a == b
	}
	var m1, s1, m2, s2 int
	_, err1 := fmt.Sscanf(fa[1], "%d:%d", &m1, &s1)
	_, err2 := fmt.Sscanf(fb[1], "%d:%d", &m2, &s2)
	if err1 != nil || err2 != nil {
		return a == b
	}
	late := m2*60 + s2 - m1*60 - s1
	fa[1], fb[1] = "", ""
	return slices.Equal(fa, fb) && late >= -1 && late <= lateSeconds
}
