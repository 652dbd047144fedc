package jet

import (
	"testing"
	"testing/synctest"
	"time"
)

// gathered starts to gather with a write of so many events while other batches are
// on their way, does what is to be done meanwhile, and returns how many writes
// came together and how long that took.
func gathered(t *testing.T, events, flying int, meanwhile func(k *committer)) (writes int, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &committer{in: make(chan *write), landed: make(chan struct{}), ctx: t.Context()}
		k.flying.Store(int32(flying))
		began, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			group, _ := k.gather(newWrite(t.Context(), make([]Msg, events), Msg{Subject: "one"}, 0))
			writes, took = len(group), time.Since(began)
		}()
		meanwhile(k)
		<-done
	})
	return writes, took
}

func TestAPageWaitsForOthersWhileABatchIsOnItsWay(t *testing.T) {
	t.Parallel()
	another := func(k *committer, subject string) {
		k.in <- newWrite(k.ctx, make([]Msg, 1), Msg{Subject: subject}, 0)
	}
	nothing := func(*committer) {}
	for name, c := range map[string]struct {
		events, flying int
		meanwhile      func(k *committer)
		writes         int
		took           time.Duration
	}{
		"alone":            {1, 0, nothing, 1, 0},
		"nobody comes":     {1, 1, nothing, 1, company},
		"a single message": {0, 1, nothing, 1, 0},
		"others come": {1, 1, func(k *committer) {
			time.Sleep(company / 4)
			another(k, "two")
			time.Sleep(company / 4)
			another(k, "three")
		}, 3, company},
		"the batch is answered": {1, 1, func(k *committer) {
			another(k, "two")
			time.Sleep(company / 2)
			k.landed <- struct{}{}
		}, 2, company / 2},
		"one of the same feed": {1, 1, func(k *committer) { another(k, "one") }, 1, 0},
		"no room":              {groupMessages - 2, 1, func(k *committer) { another(k, "two") }, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if writes, took := gathered(t, c.events, c.flying, c.meanwhile); writes != c.writes || took != c.took {
				t.Errorf("%d writes after %v, want %d after %v", writes, took, c.writes, c.took)
			}
		})
	}
}
