package publisher

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type valueKey struct{}

func TestAPatienceIsSharedByThoseThatBeginTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := patience{most: 16 * time.Second}
		ctx, stop := context.WithCancel(context.WithValue(t.Context(), valueKey{}, "mine"))
		first := p.over(ctx)
		stop()
		<-time.After(time.Second - 1)
		second := p.over(context.WithValue(t.Context(), valueKey{}, "yours"))
		if first.Done() != second.Done() {
			t.Error("two contexts within a second")
		}
		if first.Value(valueKey{}) != "mine" || second.Value(valueKey{}) != "yours" {
			t.Errorf("the values %v and %v", first.Value(valueKey{}), second.Value(valueKey{}))
		}
		if first.Err() != nil {
			t.Errorf("it ends with the caller: %v", first.Err())
		}
		<-time.After(1)
		begun, third := time.Now(), p.over(t.Context())
		// Of a child the standard library must find what ends it, or starts a goroutine.
		child, cancel := context.WithTimeout(second, time.Hour)
		defer cancel()
		<-child.Done()
		if took := time.Since(begun); took != 15*time.Second || !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %s: %v", took, child.Err())
		}
		if third.Err() != nil {
			t.Error("the next one has the end of the one before")
		}
		<-third.Done()
		if took := time.Since(begun); took != 16*time.Second {
			t.Errorf("ended after %s, want 16 s", took)
		}
	})
}
