package jet_test

import (
	"bytes"
	"fmt"
	"testing"

	"outlook-connector/internal/jet"
)

// Pieces of half a megabyte, as a merge of a large index writes, reads and
// deletes them. One operation is one piece.
func BenchmarkPieces(b *testing.B) {
	c := newWorld(b).connect()
	const group = 16
	list := make([]jet.Msg, group)
	subjects := make([]string, group)
	for i := range list {
		list[i] = piece(c, "me", fmt.Sprintf("p%d", i), string(bytes.Repeat([]byte("x"), 500<<10)))
		subjects[i] = list[i].Subject
	}
	put := func(b *testing.B) {
		b.Helper()
		if err := c.PutSegments(b.Context(), list); err != nil {
			b.Fatal(err)
		}
	}
	drop := func(b *testing.B) {
		b.Helper()
		if err := c.DropSegments(b.Context(), subjects); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("put and drop", func(b *testing.B) {
		for n := 0; n < b.N; n += group {
			put(b)
			drop(b)
		}
	})
	put(b)
	b.Run("read", func(b *testing.B) {
		for n := range b.N {
			if _, err := c.Segment(b.Context(), subjects[n%group]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Pages of ten events of one feed alone: what the fence of the marker, and a
// piece of the index in each page, add.
func BenchmarkCommitWithIndex(b *testing.B) {
	for _, row := range []struct {
		name         string
		fence, piece bool
	}{{"plain", false, false}, {"fence", true, false}, {"fence and piece", true, true}} {
		b.Run(row.name, func(b *testing.B) {
			c := newWorld(b).connect()
			seq := uint64(0)
			for n := range b.N {
				p := page(c, "me", seq, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
				if row.fence {
					p.Moves = &jet.Moves{Subject: must(c.Names().Moved("inbox", "me"))}
				}
				if row.piece {
					p.Segments = []jet.Msg{piece(c, "me", fmt.Sprintf("p%d", n), string(bytes.Repeat([]byte("x"), 3500)))}
				}
				var err error
				if seq, err = c.Commit(b.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
