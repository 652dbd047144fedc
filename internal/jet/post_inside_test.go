package jet

import (
	"errors"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestAnswersToMessagesForStreamsAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer string
		seq    uint64
		code   jetstream.ErrorCode
	}{
		{`{"stream":"S","seq":12}`, 12, 0},
		{`{"stream":"S", "seq":12}`, 12, 0},
		{`{"stream":"S","domain":"hub","seq":12}`, 12, 0},
		{`{"stream":"S","seq":12,"duplicate":true}`, 12, 0},
		{`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"S","seq":0}`, 0, codeWrongLastSeq},
	} {
		seq, err := storedAt([]byte(c.answer))
		if seq != c.seq || apiCode(err) != c.code || (err == nil) != (c.code == 0) {
			t.Errorf("%s: %d, %v", c.answer, seq, err)
		}
	}
	for _, bad := range []string{``, `{}`, `{"seq":12}`, `{"stream":"S","seq":12`, `no`} {
		if seq, err := storedAt([]byte(bad)); !errors.Is(err, jetstream.ErrInvalidJSAck) {
			t.Errorf("%s: %d, %v", bad, seq, err)
		}
	}
}

func TestHandsTakeAsManyMessagesAsThereAre(t *testing.T) {
	t.Parallel()
	const all = 20
	var mu sync.Mutex
	taken, together := 0, make(chan struct{})
	h := newHands(2, func(*holding) {
		mu.Lock()
		if taken++; taken == all {
			close(together)
		}
		mu.Unlock()
		<-together // so none is done before all have begun
	})
	for range all {
		h.give(nil)
	}
	<-together
	for range all {
		h.give(nil)
	}
	h.wait()
	if taken != 2*all || h.idle.Load() != 0 {
		t.Errorf("%d of %d, %d idle", taken, 2*all, h.idle.Load())
	}
}
