package bench

import "time"

// How long a round lasts at least.
const (
	longEnough  = 250 * time.Millisecond
	quickEnough = time.Millisecond
)

// PerOperation calls f with ever larger numbers of operations until they take
// long enough to be timed, and returns the nanoseconds of one. The calls before
// the last warm caches and branch predictors.
func (o *Options) PerOperation(f func(n int) error) (ns float64, err error) {
	enough := longEnough
	if o.Quick {
		enough = quickEnough
	}
	for n := 1000; ; n *= 2 {
		begin := time.Now()
		if err := f(n); err != nil {
			return 0, err
		}
		if took := time.Since(begin); took >= enough {
			return float64(took) / float64(n), nil
		}
	}
}
