package subscriber

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
)

const (
	// registerEvery is how often the feeds are registered again: one that a
	// worker with another configuration has dropped comes back.
	registerEvery = 30 * time.Second
	// registerAtMost bounds how many feeds are registered again in a second: it
	// is a request each, and nearly all are refused because the feed is there.
	registerAtMost = 200
	// registerAtOnce is how many registrations are on their way when a worker
	// starts. The server answers each after it is on its disk, so one after the
	// other 100,000 would take minutes.
	registerAtOnce = 64
	// wakeAtMost bounds how many feeds with another schedule are woken in a second:
	// each is polled at once.
	wakeAtMost = 200
)

// registerWait is the time between two registrations of all feeds.
func registerWait(feeds int) time.Duration {
	return max(registerEvery, time.Duration(feeds)*time.Second/registerAtMost)
}

// register makes the feeds known, now and every 30 s, or more rarely where they
// are many. The first time it wakes those that were given a delay by another
// schedule, see [Subscriber.reschedule]. A failure is not the end: the feeds that
// are known are polled all the same.
func (s *Subscriber) register(ctx context.Context) error {
	first := true
	for failures := 0; ctx.Err() == nil; {
		wait := registerWait(len(s.roster.named))
		err := s.registerAll(ctx, first)
		switch {
		case fault.Stopped(ctx, err):
			return nil
		case fault.KindOf(err) == fault.Fatal:
			return err
		case err != nil:
			failures++
			wait = retry.Delay(failures, err)
			s.log.WarnContext(ctx, "feeds not registered", "error", err, "again_in", wait)
		default:
			failures, first = 0, false
		}
		_ = retry.Sleep(ctx, wait) // the loop asks the context itself
	}
	return nil
}

func (s *Subscriber) registerAll(ctx context.Context, first bool) error {
	var mu sync.Mutex
	var known []Feed
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(1)
	if first {
		group.SetLimit(registerAtOnce)
	}
	for feed := range s.roster.named {
		if inner.Err() != nil {
			break
		}
		group.Go(func() error {
			data, err := registration{Registered: time.Now().UTC(), Schedule: s.subs[feed.Subscription].schedule}.encode()
			if err != nil {
				return err
			}
			was, err := s.queue.Register(inner, feed, data)
			if err != nil {
				return fmt.Errorf("register feed %s: %w", feed, err)
			}
			if was && first {
				mu.Lock()
				known = append(known, feed)
				mu.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return s.reschedule(ctx, known)
}

// reschedule wakes those of the feeds that rest by another schedule than the
// configuration's: a feed that was polled once a week would otherwise be polled
// by its new schedule after a week. It is polled at once, whatever the schedule
// says, and by the schedule from then on.
//
// A worker looks when it starts, because a configuration does not change while
// one runs. So workers with different configurations, during an update, do not
// wake the same feeds again and again. Feeds that discovery finds are woken by
// their discovery, see [discovery.close].
func (s *Subscriber) reschedule(ctx context.Context, feeds []Feed) error {
	turns := time.NewTicker(time.Second / wakeAtMost)
	defer turns.Stop()
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(registerAtOnce)
	for _, feed := range feeds {
		if inner.Err() != nil {
			break
		}
		group.Go(func() error {
			err := s.queue.Update(inner, feed, func(data []byte) ([]byte, error) {
				fresh, err := rescheduled(data, s.subs[feed.Subscription].schedule)
				if err != nil || string(fresh) == string(data) {
					return data, err
				}
				select {
				case <-turns.C:
					return fresh, nil
				case <-inner.Done():
					return nil, inner.Err()
				}
			})
			if err != nil {
				return fmt.Errorf("reschedule feed %s: %w", feed, err)
			}
			return nil
		})
	}
	return group.Wait()
}
