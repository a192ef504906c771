//go:build parkpoints

package conntrack

import (
	"testing"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// TestParkRules: somebody stops while he makes the rules for another setting, and
// others change more meanwhile; in the end the rules are those of all settings.
func TestParkRules(t *testing.T) {
	everyStep(t, func(s *scene) (act, meanwhile, after func()) {
		return func() { s.table.SetTimeouts(ipvs.Timeouts{TCP: 17}) },
			func() {
				s.table.SetSecureTCP(true)
				s.table.SetTimeouts(ipvs.Timeouts{UDP: 5})
			}, func() {
				require.Equal(t, s.table.makeRules(), s.table.rules.Load())
			}
	})
}
