package audit_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/audit"
)

// sent is a row as a command writes one.
func sent(i int) audit.Row {
	hash := strings.Repeat("0123456789abcdef", 4)
	return audit.Row{Command: &audit.Command{
		ID: fmt.Sprintf("OUTLOOK_PUBLISH-%d", i), Key: fmt.Sprintf("send.OUTLOOK_PUBLISH-%d", i), Subject: "outlook.publish.send",
		Stream: "OUTLOOK_PUBLISH", Sequence: uint64(i), Publisher: "send", Entity: "mail.message.sendMail",
		Mailbox: "user-0123@example.com", Decision: "allowed", Outcome: "accepted", Status: 202,
		RequestID: "3e5fd0a8-3fb2-4d2c-a4b0-0f2e6a1f7d55", ClientRequestID: "0c9b8e7a-6d5f-4e3c-b2a1-908f7e6d5c4b",
		Attempts: 1, Received: begin, Finished: begin.Add(31 * time.Millisecond), PayloadHash: hash,
	}}
}

func BenchmarkChain(b *testing.B) {
	row, chain := sent(1), audit.NewChain(audit.ChainName(begin, "abcdefghij"))
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if line, err = chain.AppendTo(line[:0], &row, begin); err != nil {
			b.Fatal(err)
		}
	}
}

// nowhere takes every message.
type nowhere struct{ sequence uint64 }

func (n *nowhere) Append(context.Context, string, []byte, uint64) (uint64, error) {
	n.sequence++
	return n.sequence, nil
}
func (n *nowhere) Last(context.Context, string) ([]byte, uint64, error) { return nil, 0, nil }
func (n *nowhere) MaxMessage() int                                      { return 1 << 20 }

// All that a row costs, from many goroutines at a time that each wait for theirs.
func BenchmarkRecorderAdd(b *testing.B) {
	r := audit.NewRecorder(audit.RecorderOptions{Store: &nowhere{}, Linger: -1})
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	row := *sent(1).Command
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			own := row
			if err := r.Add(audit.Row{Command: &own})(ctx); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	cancel()
	running.Wait()
}
