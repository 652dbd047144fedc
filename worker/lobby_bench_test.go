package worker

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
	"outlook-connector/tokenstore"
)

// BenchmarkLobby is the way of one command through the lobby, in one of 1,000
// mailboxes after the other: a place, a slot, the slot handed to the publisher,
// and both given back. full: there are fewer places than commands.
func BenchmarkLobby(b *testing.B) {
	client, err := NewGraphClient(&config.Client{Name: "c", BaseURL: "https://graph.microsoft.com/v1.0"},
		new(tokenstore.Shared), Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	out := outlook{clients: map[string]*graph.Client{"c": client}}
	slots := commandSlots{out}
	glances := make([]publisher.Glance, 1000)
	for n := range glances {
		glances[n] = publisher.Glance{Client: "c", Mailbox: fmt.Sprintf("user%d@contoso.com", n), GiveUp: time.Now().Add(time.Hour)}
	}
	var n atomic.Uint64
	pass := func(l *lobby) {
		g := glances[n.Add(1)%uint64(len(glances))]
		p, _ := l.enter(b.Context(), "p", jet.Message{}, g, true)
		if p == nil {
			b.Error("not let in")
			return
		}
		defer p.giveBack()
		release, _, ok := slots.Take(p.with(b.Context()), g.Client, g.Mailbox)
		if !ok {
			b.Error("no slot")
			return
		}
		runtime.Gosched() // the request
		release()
	}
	b.Run("free", func(b *testing.B) {
		l := newLobby(mailboxDoors{out}, map[string]int{"p": 64})
		b.ReportAllocs()
		for b.Loop() {
			pass(l)
		}
	})
	b.Run("full", func(b *testing.B) {
		l := newLobby(mailboxDoors{out}, map[string]int{"p": 4})
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				pass(l)
			}
		})
	})
}
