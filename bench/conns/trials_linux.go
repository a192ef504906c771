package conns

import (
	"context"
	"time"

	"usvs/bench/lab"
	"usvs/bench/traffic"
)

// How much goes on at once.
const (
	requestConns = 64
	connsAtOnce  = 64
	pacedConns   = 64
)

// site is a contender in its LAN.
type site struct {
	lan     *lab.LAN
	program *lab.Program
}

// trial measures one or more things of a contender.
type trial struct {
	things []string
	run    func(ctx context.Context, s *site, long time.Duration, pace float64) ([]float64, error)
}

// trials lists them in the order of a round. The pace is what requests come at
// when the machine is to be half loaded.
var trials = []trial{
	{[]string{requests}, runRequests},
	{[]string{oneStream}, streams(1)},
	{[]string{eightStreams}, streams(8)},
	{[]string{connections}, runConnections},
	{[]string{roundTrip}, runRoundTrips},
	{[]string{median, p99, p999}, runPaced},
	{[]string{idle}, runIdle},
}

// one makes a result of one value.
func one(v float64, err error) ([]float64, error) { return []float64{v}, err }

// inClient calls f on the client's machine.
func inClient[T any](s *site, f func() (T, error)) (v T, err error) {
	err = lab.OnCore(s.lan.Client, lab.LoadCore, func() error {
		v, err = f()
		return err
	})
	return v, err
}

func runRequests(ctx context.Context, s *site, long time.Duration, _ float64) ([]float64, error) {
	return one(inClient(s, func() (float64, error) {
		perSecond, _, err := s.lan.To(lab.AnswerPort).Requests(ctx, requestConns, long)
		return perSecond, err
	}))
}

func streams(n int) func(context.Context, *site, time.Duration, float64) ([]float64, error) {
	return func(ctx context.Context, s *site, long time.Duration, _ float64) ([]float64, error) {
		bytes, err := inClient(s, func() (float64, error) {
			return s.lan.To(lab.StreamPort).Streams(ctx, s.lan.Server(), n, long)
		})
		return one(8*bytes/1e9, err)
	}
}

func runConnections(ctx context.Context, s *site, long time.Duration, _ float64) ([]float64, error) {
	return one(inClient(s, func() (float64, error) {
		return s.lan.To(lab.AnswerPort).Connections(ctx, connsAtOnce, long)
	}))
}

func runRoundTrips(ctx context.Context, s *site, long time.Duration, _ float64) ([]float64, error) {
	took, err := inClient(s, func() (*traffic.Histogram, error) {
		_, took, err := s.lan.To(lab.AnswerPort).Requests(ctx, 1, long)
		return took, err
	})
	if err != nil {
		return nil, err
	}
	return one(micros(took.Quantile(0.5)), nil)
}

func runPaced(ctx context.Context, s *site, long time.Duration, pace float64) ([]float64, error) {
	took, err := inClient(s, func() (*traffic.Histogram, error) {
		return s.lan.To(lab.AnswerPort).Paced(ctx, pacedConns, pace, long)
	})
	if err != nil {
		return nil, err
	}
	return []float64{micros(took.Quantile(0.5)), micros(took.Quantile(0.99)), micros(took.Quantile(0.999))}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// runIdle looks at the director's process while there is nothing to do.
func runIdle(ctx context.Context, s *site, long time.Duration, _ float64) ([]float64, error) {
	before, err := s.program.CPU()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(2 * long):
	}
	after, err := s.program.CPU()
	return one(100*(after-before).Seconds()/time.Since(start).Seconds(), err)
}
