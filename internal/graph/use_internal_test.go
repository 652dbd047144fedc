package graph

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/retry"
)

// board keeps what processes store about use, and tells the others.
type board struct {
	mu       sync.Mutex
	data     []byte
	revision uint64
	all      []*Limiter
}

// Load returns what is stored.
func (b *board) Load(context.Context, string) ([]byte, uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data, b.revision, nil
}

// Store replaces it.
func (b *board) Store(_ context.Context, mailbox string, data []byte, revision uint64, _ time.Duration) (uint64, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if revision != b.revision {
		return 0, false, nil
	}
	b.data = data
	b.revision++
	for _, l := range b.all {
		go l.Used(mailbox, data)
	}
	return b.revision, true, nil
}

// forget is a server that was started again.
func (b *board) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data, b.revision = nil, 0
}

func TestWindowsAreKeptByProcessesTogether(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]bool{"a server that stays": false, "a server that forgets": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const (
					requests, bytes = 600, 60_000
					span            = time.Minute
				)
				b := &board{}
				for range 4 {
					l, err := NewLimiter(LimiterOptions{Uses: b, Limits: Limits{
						Requests: requests, RequestWindow: span, UploadBytes: bytes, UploadWindow: span,
					}})
					if err != nil {
						t.Fatal(err)
					}
					b.all = append(b.all, l)
				}
				type spent struct {
					at   time.Time
					size int64
				}
				var (
					mu  sync.Mutex
					all []spent
					run sync.WaitGroup
				)
				end := time.Now().Add(5 * span)
				for i, l := range b.all {
					size := int64(i) * 150 // one process reads only
					run.Go(func() {
						for time.Now().Before(end) {
							done, wait, _ := l.charge(t.Context(), named("ann"), size)
							if wait > 0 {
								_ = retry.Sleep(t.Context(), wait)
								continue
							}
							done()
							mu.Lock()
							all = append(all, spent{time.Now(), size})
							mu.Unlock()
							_ = retry.Sleep(t.Context(), time.Duration(7*(i+1))*time.Millisecond)
						}
					})
				}
				if forget {
					_ = retry.Sleep(t.Context(), 800*time.Millisecond) // about half of the window is used
					b.forget()
				}
				run.Wait()
				var n, sum, most, mostBytes int64
				from := 0
				for _, s := range all {
					for ; !all[from].at.After(s.at.Add(-span)); from++ {
						n--
						sum -= all[from].size
					}
					n++
					sum += s.size
					most, mostBytes = max(most, n), max(mostBytes, sum)
				}
				if most > requests || mostBytes > bytes {
					t.Errorf("%d requests and %d bytes within %v, limits %d and %d", most, mostBytes, span, requests, bytes)
				}
				if len(all) < 4*requests {
					t.Errorf("%d requests in five windows of %d", len(all), requests)
				}
			})
		})
	}
}

func TestWhatWasUsedBeforeAnybodyWroteItDownCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const requests = 1000
		b := &board{}
		for range 2 {
			l, err := NewLimiter(LimiterOptions{Uses: b, Limits: Limits{Requests: requests, RequestWindow: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			b.all = append(b.all, l)
		}
		use := func(l *Limiter, most int) (n int) {
			for ; n < most; n++ {
				done, wait, _ := l.charge(t.Context(), named("ann"), 0)
				if wait > 0 {
					return n
				}
				done()
				synctest.Wait()
			}
			return n
		}
		few := use(b.all[0], 7) // too few to write down, and no more after that
		all := few + use(b.all[1], 2*requests)
		if all > requests || all < requests*99/100 {
			t.Errorf("%d requests of both, limit %d", all, requests)
		}
	})
}
