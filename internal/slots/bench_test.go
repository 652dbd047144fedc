package slots_test

import (
	"context"
	"fmt"
	"testing"

	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/slots"
)

// BenchmarkFreeSlot is what a command pays to be let in: its mailbox is resolved,
// and a slot of it, which this process holds, is taken and given back, in one of
// 1,000 mailboxes after the other. shared: the slots are on a server, and renewed
// there meanwhile. alone: they are this process's.
func BenchmarkFreeSlot(b *testing.B) {
	b.Run("shared", func(b *testing.B) {
		server, err := embedded.Start(b.Context(), embedded.Options{StoreDir: b.TempDir(), Listen: "127.0.0.1:0", Open: true})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = server.Stop(context.WithoutCancel(b.Context())) })
		conn, err := jet.Connect(b.Context(), jet.Options{URL: server.URL(), ManageStreams: true})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.Context())) })
		if err := conn.EnsureStreams(b.Context()); err != nil {
			b.Fatal(err)
		}
		app, err := slots.New(b.Context(), slots.Options{App: sandbox.DefaultClientID, Name: "contoso", Conn: conn})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(app.Close)
		benchFreeSlot(b, graph.Options{Limiter: app.Limiter(), Resolve: app.NamesOf(func(_ context.Context, upn string) (string, error) {
			var n int
			_, err := fmt.Sscanf(upn, "user%d@", &n)
			return fmt.Sprintf("00000000-0000-4000-8000-%012d", n), err
		})})
	})
	b.Run("alone", func(b *testing.B) { benchFreeSlot(b, graph.Options{}) })
}

func benchFreeSlot(b *testing.B, o graph.Options) {
	b.Helper()
	o.Name, o.BaseURL, o.Tokens = "contoso", "https://graph.microsoft.com/v1.0", bearer("")
	client, err := graph.New(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	mailboxes := make([]string, 1000)
	take := func(n int) {
		release := client.FreeSlot(b.Context(), mailboxes[n%len(mailboxes)])
		if release == nil {
			b.Fatal("no slot")
		}
		release()
	}
	for n := range mailboxes {
		mailboxes[n] = fmt.Sprintf("user%d@contoso.com", n)
		take(n) // what comes once is not counted
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		take(n)
	}
}
