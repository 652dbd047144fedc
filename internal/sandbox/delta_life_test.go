package sandbox_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"

	"outlook-connector/internal/sandbox"
)

// TestWhatDeltaTellsAddsUpToTheTruth lets writers lead a random life in a
// mailbox while readers follow its folders by delta, page by page. When the
// writers stop, one more round must leave each reader with exactly what a list
// of the folder shows.
func TestWhatDeltaTellsAddsUpToTheTruth(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			live(t, seed)
		})
	}
}

func live(t *testing.T, seed uint64) {
	t.Helper()
	w := start(t, sandbox.MailboxConcurrency(100), sandbox.StoreDir(t.TempDir()))
	w.t = t
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for n := range 3 {
		writers.Go(func() { write(w, rand.New(rand.NewPCG(seed, uint64(n))), 120) })
	}
	type follower struct {
		*reader
		folder string
	}
	var all []follower
	for i, folder := range []string{"inbox", "archive", "inbox", "deleteditems", "inbox"} {
		view := w.with("Prefer", fmt.Sprint("odata.maxpagesize=", 1+i*3))
		if i%2 == 0 {
			view = view.with("Prefer", `IdType="ImmutableId"`)
		}
		query := ""
		if i == 4 {
			query = "?$orderby=receivedDateTime+desc"
		}
		f := follower{newReader(view, folder, query), folder}
		all = append(all, f)
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f.page()
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for i, f := range all {
		f.round().round() // the one that was under way, and one more
		want := map[string]string{}
		for link := "/me/mailFolders/" + f.folder + "/messages?$select=subject,isRead&$top=100"; link != ""; {
			r := f.w.get(link).is(http.StatusOK)
			for _, m := range r.value() {
				want[fmt.Sprint(m["id"])] = fmt.Sprint(m["subject"], " ", m["isRead"])
			}
			link = r.str("@odata.nextLink")
		}
		for id, state := range want {
			if f.view[id] != state {
				t.Errorf("reader %d of %s: %s is %q, delta told %q", i, f.folder, id[len(id)-12:], state, f.view[id])
			}
		}
		for id, state := range f.view {
			if _, there := want[id]; !there {
				t.Errorf("reader %d of %s: delta told %q, which is not there", i, f.folder, state)
			}
		}
	}
}

// write does n random things to ann's mailbox.
func write(w *world, dice *rand.Rand, n int) {
	folders := []string{"inbox", "archive", "deleteditems"}
	for i := range n {
		if i%3 == 0 {
			w.deliver(ann, fmt.Sprint("m", dice.IntN(1e6)))
			continue
		}
		list := w.get("/me/mailFolders/" + folders[dice.IntN(3)] + "/messages?$select=id,isRead&$top=20").is(200).value()
		if len(list) == 0 {
			continue
		}
		m := list[dice.IntN(len(list))]
		path := "/me/messages/" + fmt.Sprint(m["id"])
		var r *reply
		switch dice.IntN(4) {
		case 0:
			r = w.do(http.MethodDelete, path, "")
		case 1:
			r = w.do(http.MethodPost, path+"/move", fmt.Sprintf(`{"destinationId":%q}`, folders[dice.IntN(3)]))
		default:
			r = w.do(http.MethodPatch, path, fmt.Sprintf(`{"isRead":%v}`, m["isRead"] != true))
		}
		// Another writer may have moved it in between.
		if !slices.Contains([]int{200, 201, 204, 404}, r.status) {
			w.t.Errorf("%s: %d %s", path, r.status, r.raw)
		}
	}
}
