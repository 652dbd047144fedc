package tokenstore_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"outlook-connector/tokenstore"
)

// living returns a keeper whose token lives, over a store in memory.
func living(b *testing.B) *tokenstore.Keeper {
	b.Helper()
	v := newVault()
	grant := testGrant(clientName, 1)
	grant.Issued, grant.Expiry = time.Now(), time.Now().Add(time.Hour)
	v.grants[clientName] = grant
	keeper, err := tokenstore.NewKeeper(tokenstore.KeeperOptions{Vault: v, Clients: []tokenstore.Client{testClient()}, Transport: newIDP()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(keeper.Close)
	return keeper
}

func BenchmarkToken(b *testing.B) {
	keeper := living(b)
	for b.Loop() {
		if _, err := keeper.Token(b.Context(), clientName, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSharedToken is a token of the owner that has a lease, as each request
// asks for one.
func BenchmarkSharedToken(b *testing.B) {
	shared, err := tokenstore.NewShared(tokenstore.SharedOptions{
		Store:   tokenstore.Options{Path: filepath.Join(b.TempDir(), "tokens.db"), Key: testKey},
		Clients: []tokenstore.Client{testClient()}, Transport: newIDP(), Leases: &seat{board: newBoard()},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := shared.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer shared.Stop()
	grant := testGrant(clientName, 1)
	grant.Issued, grant.Expiry = time.Now(), time.Now().Add(time.Hour)
	if err := shared.Adopt(b.Context(), grant); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := shared.Token(b.Context(), clientName, 2*time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAnswer is one question and its answer, both sides, without a wire.
func BenchmarkAnswer(b *testing.B) {
	service := tokenstore.Service{Source: living(b)}
	for b.Loop() {
		r := tokenstore.NewRemote(tokenstore.RemoteOptions{Ask: func(ctx context.Context, client string, request []byte) ([]byte, error) {
			return service.Answer(ctx, client, request), nil
		}, Clients: []string{clientName}})
		if _, err := r.Token(b.Context(), clientName, 0); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}

func BenchmarkPut(b *testing.B) {
	store, err := tokenstore.Open(tokenstore.Options{Path: filepath.Join(b.TempDir(), "tokens.db"), Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	generation := uint64(0)
	for b.Loop() {
		generation++
		if err := store.Put(testGrant(clientName, generation)); err != nil {
			b.Fatal(err)
		}
	}
}
