package ipvs

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSysctlKeysAreSorted(t *testing.T) {
	require.True(t, slices.IsSorted(SysctlKeys()), "they are found by halving")
}

func TestSysctlsReadBackWhatWasWritten(t *testing.T) {
	s := DefaultSysctls()
	for _, name := range SysctlKeys() {
		was, err := s.Sysctl(name)
		require.NoError(t, err)
		require.NoError(t, s.SetSysctl(name, was+"\n"), name)
		require.Equal(t, DefaultSysctls(), s, name)
	}
}

func TestSetSysctl(t *testing.T) {
	for _, c := range []struct {
		name, write, read string
		err               error
	}{
		{"sync_threshold", "1 0", "1\t0", nil},
		{"sync_threshold", "7", "7\t50", nil},
		{"sync_threshold", "50", "", ErrInvalid},
		{"sync_threshold", "-1 5", "", ErrInvalid},
		{"sync_threshold", "1 2 3", "1\t2", nil},
		{"sync_threshold", "3 x", "", ErrInvalid},
		{"sync_threshold", "9 0", "9\t0", nil},
		{"sync_threshold", "5 5", "", ErrInvalid},
		{"am_droprate", "5 x", "5", nil},
		{"am_droprate", "010", "8", nil},
		{"am_droprate", "-0x5", "-5", nil},
		{"am_droprate", "+6", "", ErrInvalid},
		{"am_droprate", "0b11", "", ErrInvalid},
		{"am_droprate", "1_0", "", ErrInvalid},
		{"am_droprate", "0o7", "", ErrInvalid},
		{"am_droprate", "0x", "", ErrInvalid},
		{"am_droprate", "08", "", ErrInvalid},
		{"am_droprate", "-", "", ErrInvalid},
		{"am_droprate", "5,6", "", ErrInvalid},
		{"am_droprate", "-2147483648", "-2147483648", nil},
		{"am_droprate", "-2147483649", "", ErrInvalid},
		{"am_droprate", "99999999999999999999", "", ErrInvalid},
		{"sync_refresh_period", "21474836", "21474836", nil},
		{"sync_refresh_period", "21474837", "", ErrInvalid},
		{"sync_refresh_period", "-1", "-1", nil},
		{"sync_qlen_max", "4294967296", "4294967296", nil},
		{"sync_qlen_max", "-1", "", ErrInvalid},
		{"sync_ports", "1073741824", "1073741824", nil},
		{"drop_entry", "3", "3", nil},
		{"drop_entry", "4", "", ErrInvalid},
		{"drop_packet", "-1", "", ErrInvalid},
		{"sync_ports", "4", "4", nil},
		{"sync_ports", "3", "", ErrInvalid},
		{"sync_ports", "0", "", ErrInvalid},
		{"sync_version", "2", "", ErrInvalid},
		{"cache_bypass", "17", "17", nil},
		{"amemthresh", "-5", "-5", nil},
		{"amemthresh", "0x10", "16", nil},
		{"amemthresh", "2147483648", "", ErrInvalid},
		{"amemthresh", "", "", ErrInvalid},
		{"amemthresh", "many", "", ErrInvalid},
		{"lblc_expiration", "10", "10", nil},
		{"nosuch", "1", "", ErrNoEntry},
	} {
		s := DefaultSysctls()
		require.ErrorIs(t, s.SetSysctl(c.name, c.write), c.err, "%s=%s", c.name, c.write)
		if c.err != nil {
			require.Equal(t, DefaultSysctls(), s, "what is refused changes nothing")
			continue
		}
		got, err := s.Sysctl(c.name)
		require.NoError(t, err)
		require.Equal(t, c.read, got, c.name)
	}
	s := DefaultSysctls()
	_, err := s.Sysctl("nosuch")
	require.ErrorIs(t, err, ErrNoEntry)
}

func FuzzSetSysctl(f *testing.F) {
	f.Add("sync_threshold", "3 50")
	f.Add("sync_ports", "-9223372036854775808")
	f.Fuzz(func(t *testing.T, name, value string) {
		s := DefaultSysctls()
		if s.SetSysctl(name, value) != nil {
			require.Equal(t, DefaultSysctls(), s)
			return
		}
		got, err := s.Sysctl(name)
		require.NoError(t, err)
		again := DefaultSysctls()
		require.NoError(t, again.SetSysctl(name, got))
		require.Equal(t, s, again)
	})
}
