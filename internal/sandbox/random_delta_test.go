package sandbox_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

// follower keeps what a delta function tells.
type follower struct {
	function, list string
	link           string
	view           map[string]map[string]any
}

func (f *follower) round(w *world) {
	w.t.Helper()
	for link := cmp.Or(f.link, f.function); ; {
		r := w.get(link).is(http.StatusOK)
		for _, item := range r.value() {
			id := fmt.Sprint(item["id"])
			if item["@removed"] != nil {
				delete(f.view, id)
				continue
			}
			if f.view[id] == nil {
				f.view[id] = map[string]any{}
			}
			maps.Copy(f.view[id], item)
		}
		link = r.str("@odata.nextLink")
		if link == "" {
			f.link = r.str("@odata.deltaLink")
			return
		}
	}
}

// told are the names by id that a follower knows, and listed those that a list
// shows.
func (f *follower) told() map[string]string {
	all := map[string]string{}
	for id, item := range f.view {
		if item["type"] != "seriesMaster" { // a view's delta tells of it, its list does not
			all[id] = shownName(item)
		}
	}
	return all
}

func (f *follower) listed(a *actor, list string) map[string]string {
	all := map[string]string{}
	for link := list; link != ""; {
		r := a.get(link).is(http.StatusOK)
		for _, item := range r.value() {
			all[fmt.Sprint(item["id"])] = shownName(item)
			if strings.Contains(list, "ailFolders?") || strings.Contains(list, "ontactFolders?") || strings.Contains(list, "childFolders") { // at any depth
				at, _, _ := strings.Cut(f.function, "/delta")
				maps.Copy(all, f.listed(a, at+"/"+fmt.Sprint(item["id"])+"/childFolders?$top=200"))
			}
		}
		link = r.str("@odata.nextLink")
	}
	return all
}

// shownName is what a list and a delta function both show of an item: of an
// occurrence, the latter shows little.
func shownName(item map[string]any) string {
	if item["type"] == "occurrence" {
		return fmt.Sprint(item["start"], item["end"])
	}
	return fmt.Sprint(item["subject"], item["displayName"], item["title"], item["givenName"], item["isRead"], item["parentFolderId"], item["status"], item["start"])
}

func TestWhateverWasDoneDeltaAddsUpToTheLists(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := start(t, sandbox.Seed(seed+1), sandbox.MailboxConcurrency(100))
			a := newActor(w, seed+100)
			list := a.ask(http.MethodPost, "/me/todo/lists", nouns["lists"].create).str("id")
			folder := a.ask(http.MethodPost, "/me/contactFolders", nouns["contactFolders"].create).str("id")
			window := "startDateTime=2030-05-01T00:00:00Z&endDateTime=2030-06-30T00:00:00Z"
			followers := []*follower{
				{function: "/me/mailFolders/inbox/messages/delta", list: "/me/mailFolders/inbox/messages?$top=1000"},
				{function: "/me/mailFolders/archive/messages/delta", list: "/me/mailFolders/archive/messages?$top=1000"},
				{function: "/me/mailFolders/delta", list: "/me/mailFolders?$top=1000"},
				{function: "/me/calendarView/delta?" + window, list: "/me/calendarView?$top=1000&" + window},
				{function: "/me/contactFolders/" + folder + "/contacts/delta", list: "/me/contactFolders/" + folder + "/contacts?$top=1000"},
				{function: "/me/contactFolders/delta", list: "/me/contactFolders?$top=1000"},
				{function: "/me/todo/lists/delta", list: "/me/todo/lists?$top=1000"},
				{function: "/me/todo/lists/" + list + "/tasks/delta", list: "/me/todo/lists/" + list + "/tasks?$top=1000"},
				{function: "/users/delta", list: "/users?$top=900"},
			}
			for range 6 {
				for range 30 {
					a.step()
					if a.rng.IntN(3) == 0 {
						a.ask(http.MethodPost, "/me/todo/lists/"+list+"/tasks", fmt.Sprintf(`{"title":"T %d"}`, a.n))
						a.ask(http.MethodPost, "/me/contactFolders/"+folder+"/contacts", fmt.Sprintf(`{"givenName":"C %d"}`, a.n))
					}
				}
				for _, f := range followers {
					if f.view == nil {
						f.view = map[string]map[string]any{}
					}
					f.round(a.with("Prefer", "odata.maxpagesize=7"))
					told, listed := f.told(), f.listed(a, f.list)
					if !maps.Equal(told, listed) {
						t.Errorf("%s after %d steps: told %d, listed %d", f.function, a.n, len(told), len(listed))
						for id, name := range told {
							if listed[id] != name {
								t.Errorf("told   %s %q, listed %q", id, name, listed[id])
							}
						}
						for id, name := range listed {
							if _, ok := told[id]; !ok {
								t.Errorf("listed %s %q, not told", id, name)
							}
						}
						return
					}
				}
			}
		})
	}
}
