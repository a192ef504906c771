package node

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An expression that only Perl understands is found when the configuration is
// loaded: a check with it would never have a result.
func TestRegexIsCheckedAtLoad(t *testing.T) {
	for pattern, wrong := range map[string]bool{"^(well|good)$": false, "(?i)well": false, "(?=well)": true, `(a)\1`: true, "(": true} {
		conf := parsed(t, `
virtual_server 10.0.0.1 80 {
	lb_algo rr
	lb_kind DR
	protocol TCP
	real_server 10.0.0.2 80 {
		HTTP_GET {
			url {
				path /
				regex "`+pattern+`"
			}
		}
	}
}`)
		_, err := newPlan(conf, "host", nil)
		require.Equal(t, wrong, err != nil, "%s: %v", pattern, err)
		if wrong {
			require.ErrorContains(t, err, "test.conf:8")
		}
	}
}
