//go:build unix

package proof_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/catalog"
	msgraph "outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/retry"
	"outlook-connector/internal/seal"
	"outlook-connector/internal/slots"
)

// jobEnv names what a process of this test binary does instead of the tests.
const jobEnv = "OUTLOOK_PROOF_JOB"

// slotsMain does the job of a helper process until it is killed.
func slotsMain(job string) error {
	ctx := context.Background()
	if job == "node" {
		return nodeMain()
	}
	if job == "nats" {
		_, err := embedded.Start(ctx, embedded.Options{StoreDir: os.Getenv("SLOTS_STORE"), Listen: os.Getenv("SLOTS_NATS"), Open: true})
		if err != nil {
			return err
		}
		select {}
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	conn, err := jet.Connect(ctx, jet.Options{URL: "nats://" + os.Getenv("SLOTS_NATS"), ManageStreams: true, Log: log})
	if err != nil {
		return err
	}
	if err := conn.EnsureStreams(ctx); err != nil {
		return err
	}
	lease, err := time.ParseDuration(os.Getenv("SLOTS_LEASE"))
	if err != nil {
		return err
	}
	accounts := map[string]slots.Account{}
	for name, variable := range map[string]string{"ann": "SLOTS_ANN", "ben": "SLOTS_BEN"} {
		id, upn, _ := strings.Cut(os.Getenv(variable), " ")
		accounts[name] = slots.Account{ObjectID: id, UPN: upn}
	}
	app, err := slots.New(ctx, slots.Options{
		App: "proof", Name: "proof", Conn: conn, Lease: lease, Log: log,
		Accounts: func() map[string]slots.Account { return accounts },
	})
	if err != nil {
		return err
	}
	clients := map[string]*msgraph.Client{}
	for i, token := range strings.Fields(os.Getenv("SLOTS_TOKENS")) {
		name := []string{"ann", "ben"}[i]
		client, err := msgraph.New(msgraph.Options{
			Name: name, BaseURL: os.Getenv("SLOTS_GRAPH"), Tokens: bearer(token), Limiter: app.Limiter(),
			Resolve: app.Resolver(name, nil), Log: log,
		})
		if err != nil {
			return err
		}
		clients[name] = client
	}
	op, err := catalog.Default().Lookup("mail.message.list")
	if err != nil {
		return err
	}
	ann := accounts["ann"]
	uses := []struct{ client, mailbox string }{
		{"ann", "me"}, {"ann", strings.ToUpper(ann.UPN)}, {"ann", ann.ObjectID}, {"ben", ann.UPN}, {"ben", strings.ToUpper(ann.ObjectID)},
	}
	var all sync.WaitGroup
	for i := range 8 {
		u := uses[(i+os.Getpid())%len(uses)]
		client := clients[u.client]
		all.Go(func() {
			for {
				release, wait, ok := client.QueueSlot(ctx, u.mailbox)
				if !ok {
					_ = retry.Sleep(ctx, min(wait, time.Second))
					continue
				}
				_, err := client.Do(ctx, msgraph.Request{Operation: op, Mailbox: u.mailbox, Query: map[string]string{"$top": "1", "$select": "id"}})
				release()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					_ = retry.Sleep(ctx, 100*time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	return nil
}

// bearer is a token source of one person.
type bearer string

func (b bearer) Token(context.Context) (msgraph.Token, error) {
	return msgraph.Token{Access: seal.Secret(b)}, nil
}
func (bearer) Reject(context.Context, msgraph.Token) {}
