package audit_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"outlook-connector/internal/audit"
	"outlook-connector/internal/fault"
)

// shelf is a store in memory, with faults.
type shelf struct {
	mu       sync.Mutex
	messages []audit.Message
	last     map[string]uint64
	// down refuses, swallow stores and loses the answer, refuse refuses though it
	// would fit: as often as they say.
	down, swallow, refuse int
	// stale is until when a message that is stored is not seen by who asks.
	stale time.Time
	// max is how long a message may be; 0: not told, and not checked.
	max int
}

func (s *shelf) MaxMessage() int { s.mu.Lock(); defer s.mu.Unlock(); return s.max }

var errDown = fault.New(fault.Retry, "the store is full").WithCode("store_full")

func (s *shelf) Append(_ context.Context, chain string, data []byte, after uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down > 0 {
		s.down--
		return 0, errDown
	}
	if s.max > 0 && len(data) > s.max {
		return 0, errors.New("maximum payload exceeded")
	}
	if s.last == nil {
		s.last = map[string]uint64{}
	}
	if s.last[chain] != after {
		return 0, audit.ErrNotLast
	}
	if s.refuse > 0 {
		s.refuse--
		return 0, audit.ErrNotLast
	}
	sequence := uint64(len(s.messages)) + 1
	s.messages = append(s.messages, audit.Message{Chain: chain, Sequence: sequence, Time: time.Now(), Data: bytes.Clone(data)})
	s.last[chain] = sequence
	if s.swallow > 0 {
		s.swallow--
		return 0, errors.New("no answer in time")
	}
	return sequence, nil
}

func (s *shelf) Last(_ context.Context, chain string) ([]byte, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := time.Now().Before(s.stale)
	for i, m := range slices.Backward(s.messages) {
		if m.Chain == chain && (!old || i < len(s.messages)-1) {
			return m.Data, m.Sequence, nil
		}
	}
	return nil, 0, nil
}

func (s *shelf) set(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

// report checks what is stored, and returns its commands' ids in order.
func (s *shelf) report(t *testing.T) (r audit.Report, ids []string, kinds []audit.Kind) {
	t.Helper()
	v := audit.NewVerifier(0, time.Now(), nil)
	for _, m := range s.messages {
		v.Add(m)
		audit.Lines(m.Data, func(line []byte) {
			row, _, err := audit.Read(line)
			if err != nil {
				t.Errorf("read: %v", err)
			}
			kinds = append(kinds, row.Kind)
			if row.Command != nil {
				ids = append(ids, row.Command.ID)
			}
		})
	}
	return v.End(uint64(len(s.messages))), ids, kinds
}

func command(id string) audit.Row { return audit.Row{Command: &audit.Command{ID: id}} }

// recorded runs a recorder for the time of f.
func recorded(t *testing.T, s *shelf, f func(r *audit.Recorder)) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewRegistry()
	r := audit.NewRecorder(audit.RecorderOptions{Store: s, Start: audit.Start{Host: "h"}, Registerer: registry})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	f(r)
	cancel()
	running.Wait()
	return registry
}

func TestRowsThatComeTogetherAreStoredTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		registry := recorded(t, s, func(r *audit.Recorder) {
			var adding sync.WaitGroup
			for i := range 1000 {
				adding.Go(func() {
					if err := r.Add(command(fmt.Sprint(i)))(t.Context()); err != nil {
						t.Errorf("row %d: %v", i, err)
					}
				})
			}
			adding.Wait()
		})
		report, ids, kinds := s.report(t)
		if report.ProblemCount != 0 || len(ids) != 1000 || report.Chains[0].State != audit.StateEnded {
			t.Errorf("%d rows, report %+v", len(ids), report)
		}
		if kinds[0] != audit.KindStart || kinds[len(kinds)-1] != audit.KindEnd {
			t.Errorf("chain from %s to %s", kinds[0], kinds[len(kinds)-1])
		}
		if len(s.messages) > 10 {
			t.Errorf("%d messages for 1000 rows", len(s.messages))
		}
		if n, err := testutil.GatherAndCount(registry, "outlook_audit_rows_total", "outlook_audit_failures_total"); err != nil || n != 6 {
			t.Errorf("%d series, %v", n, err)
		}
	})
}

func TestALostAnswerStoresARowOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		recorded(t, s, func(r *audit.Recorder) {
			for i := range 5 {
				s.set(func() { s.swallow, s.refuse = i%2, i%3 })
				if err := r.Add(command(fmt.Sprint(i)))(t.Context()); err != nil {
					t.Errorf("row %d: %v", i, err)
				}
			}
			s.set(func() { s.swallow, s.refuse = 0, 0 })
		})
		report, ids, _ := s.report(t)
		if report.ProblemCount != 0 || len(report.Chains) != 1 || fmt.Sprint(ids) != "[0 1 2 3 4]" {
			t.Errorf("rows %v, report %+v", ids, report)
		}
	})
}

// The answer is lost, and then the message is refused by a leader that takes it a
// while to see what is stored: it is no reason for another chain.
func TestARefusalThatPassesBeginsNoNewChain(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(s *shelf){
		"a message that is still applied": func(s *shelf) { s.swallow, s.stale = 1, time.Now().Add(2*time.Second) },
		"refused though it would fit":     func(s *shelf) { s.refuse = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &shelf{}
				recorded(t, s, func(r *audit.Recorder) {
					for i := range 3 {
						if err := r.Add(command(fmt.Sprint(i)))(t.Context()); err != nil {
							t.Errorf("row %d: %v", i, err)
						}
						s.set(func() { fault(s) })
					}
					s.set(func() { s.swallow, s.refuse, s.stale = 0, 0, time.Time{} })
				})
				report, ids, _ := s.report(t)
				if report.ProblemCount != 0 || len(report.Chains) != 1 || fmt.Sprint(ids) != "[0 1 2]" {
					t.Errorf("rows %v, report %+v", ids, report)
				}
			})
		})
	}
}

func TestAMessageIsNoLongerThanTheStoreTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, most := range []int{0, 64 << 10, 4 << 10} {
			s := &shelf{max: most}
			var failed atomic.Int32
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			recorded(t, s, func(r *audit.Recorder) {
				var adding sync.WaitGroup
				for i := range 1000 {
					adding.Go(func() {
						if r.Add(command(fmt.Sprint(i)))(ctx) != nil {
							failed.Add(1)
						}
					})
				}
				adding.Wait()
			})
			report, ids, _ := s.report(t)
			longest, total := 0, 0
			for _, m := range s.messages {
				longest, total = max(longest, len(m.Data)), total+len(m.Data)
			}
			if failed.Load() != 0 || report.ProblemCount != 0 || len(ids) != 1000 || longest > cmp.Or(most, 256<<10) {
				t.Errorf("%d rows, at most %d bytes of %d, report %+v", len(ids), longest, most, report)
			}
			// The bound is made use of.
			if most > 0 && len(s.messages) > 4+2*total/most {
				t.Errorf("%d messages for %d bytes", len(s.messages), total)
			}
		}
	})
}

func TestWhileNothingCanBeStoredItSaysSoAndGoesOnAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		registry := recorded(t, s, func(r *audit.Recorder) {
			if err := r.Add(command("before"))(t.Context()); err != nil {
				t.Error(err)
			}
			s.set(func() { s.down = 60 })
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := r.Add(command("in hand"))(ctx)
			if !errors.Is(err, errDown) || !errors.Is(r.Problem(), errDown) {
				t.Errorf("Add: %v, Problem: %v", err, r.Problem())
			}
			// Those that nobody waits for any more do not pile up.
			late := r.Add(command("late"))
			gone, end := context.WithCancel(t.Context())
			end()
			if late(gone) == nil {
				t.Error("a row that is not stored is said to be")
			}
			if err := r.Add(command("after"))(t.Context()); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if r.Problem() != nil {
				t.Errorf("Problem: %v", r.Problem())
			}
		})
		report, ids, kinds := s.report(t)
		if report.ProblemCount != 0 || fmt.Sprint(ids) != "[before in hand after]" {
			t.Errorf("rows %v, report %+v", ids, report)
		}
		if fmt.Sprint(kinds) != "[start command command outage command end]" {
			t.Errorf("kinds %v", kinds)
		}
		if got := failures(t, registry); got != 60 {
			t.Errorf("%v failures counted, want 60", got)
		}
	})
}

// failures returns how many attempts were counted as failed.
func failures(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "outlook_audit_failures_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no metric of failures")
	return 0
}

func TestAChainThatTheStreamLostGoesOnInAnotherThatSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		recorded(t, s, func(r *audit.Recorder) {
			for _, id := range []string{"1", "2", "3"} {
				if err := r.Add(command(id))(t.Context()); err != nil {
					t.Error(err)
				}
			}
			s.set(func() { // the power went, and the last message with it
				gone := s.messages[len(s.messages)-1]
				s.messages = s.messages[:len(s.messages)-1]
				s.last[gone.Chain] = uint64(len(s.messages))
			})
			if err := r.Add(command("4"))(t.Context()); err != nil {
				t.Error(err)
			}
		})
		report, ids, _ := s.report(t)
		if codes(report) != "lost" || len(report.Chains) != 2 || fmt.Sprint(ids) != "[1 2 4]" {
			t.Errorf("rows %v, report %+v", ids, report)
		}
	})
}

func TestAfterItsEndAChainTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		var kept *audit.Recorder
		recorded(t, s, func(r *audit.Recorder) { kept = r })
		if err := kept.Add(command("late"))(t.Context()); fault.Of(err).Code != "audit_closed" {
			t.Errorf("Add after the end: %v", err)
		}
		if _, ids, kinds := s.report(t); len(ids) != 0 || kinds[len(kinds)-1] != audit.KindEnd {
			t.Errorf("rows %v, kinds %v", ids, kinds)
		}
	})
}

func TestAnEndWithoutAStoreIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{down: 1 << 30}
		began := time.Now()
		recorded(t, s, func(r *audit.Recorder) { r.Note(command("1")) })
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("the end took %s", took)
		}
	})
}
