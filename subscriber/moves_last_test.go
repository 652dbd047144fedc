package subscriber_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/subscriber"
)

// household is a subscription of folders that one worker polls, folder by folder.
type household struct {
	*world
	t   *testing.T
	one *actor
}

// newHousehold has found the folders, and read those of them that are named.
func newHousehold(t *testing.T, mails map[string][]string, read ...string) *household {
	t.Helper()
	sub := inbox(t)
	sub.Start.All = true
	sub.Path, sub.Folders = nil, followed
	h := &household{t: t, world: &world{stream: newMemStream(), dead: &letters{}, sub: sub, mailbox: newMailbox(5, 1)}}
	for folder, ids := range mails {
		for _, id := range ids {
			h.mailbox.folders[folder].put(id)
		}
	}
	h.mailbox.now = registeredAt.Add(time.Second)
	h.one = h.worker(t)
	t.Cleanup(func() {
		for _, free := range h.frees {
			free()
		}
	})
	h.run(subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: "folders"}, h.one.rig.data)
	for _, folder := range read {
		h.poll(folder)
	}
	return h
}

func (h *household) feed(folder string) subscriber.Feed {
	return subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: subscriber.Part(folder)}
}

// registered is the registration of a folder's feed, long ago.
func (h *household) registered(folder string) string {
	data := string(h.one.rig.queue.dataOf(h.feed(folder)))
	return regexp.MustCompile(`"registered":"[^"]*"`).ReplaceAllString(data, `"registered":"`+registeredAt.Format(time.RFC3339)+`"`)
}

func (h *household) poll(folder string) { h.run(h.feed(folder), []byte(h.registered(folder))) }

// retire polls a folder that left the subscription.
func (h *household) retire(folder string) {
	h.run(h.feed(folder), []byte(strings.Replace(h.registered(folder), "{", `{"retire":true,`, 1)))
}

func (h *household) run(feed subscriber.Feed, data []byte) {
	h.t.Helper()
	h.one.rig.feed, h.one.rig.data = feed, data
	for h.one.begin(h.t.Context()); h.one.polling; {
		h.one.step(proceed)
	}
}

// later has a folder's feed have committed last so long ago.
func (h *household) later(folder string, ago time.Duration) {
	h.t.Helper()
	h.stream.mu.Lock()
	defer h.stream.mu.Unlock()
	at := regexp.MustCompile(`"at":"[^"]*"`)
	cursor := h.stream.cursors[h.feed(folder)]
	if !at.Match(cursor) {
		h.t.Fatalf("a cursor without its moment: %s", cursor)
	}
	h.stream.cursors[h.feed(folder)] = at.ReplaceAll(cursor, []byte(`"at":"`+time.Now().Add(-ago).Format(time.RFC3339)+`"`))
}

func (h *household) told() (all []string) {
	for _, event := range h.stream.events {
		all = append(all, event.Header["Outlook-Change"]+" "+event.Header["Outlook-Id"])
	}
	slices.Sort(all)
	return all
}

// TestAFolderThatLeavesWaitsForItsMailsNewHome has a folder leave while one of its
// mails is in another that has not told it yet, one is where nobody reads, and one
// goes for good a moment later.
func TestAFolderThatLeavesWaitsForItsMailsNewHome(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, map[string][]string{"folder-a": {"m00", "m01", "m02"}}, "folder-a", "folder-b")
	h.mailbox.move("m00", "folder-b", true)
	h.mailbox.move("m01", away, true)
	h.mailbox.move("m02", "folder-b", true)
	h.retire("folder-a")
	first := []string{"deleted m01", "snapshot m00", "snapshot m01", "snapshot m02"}
	same(t, "events while the others are on their way", h.told(), first)
	h.mailbox.folders["folder-b"].remove("m02")
	h.poll("folder-b")
	h.retire("folder-a")
	same(t, "events in the end", h.told(), append([]string{"deleted m01", "deleted m02"}, append(first[1:], "updated m00")...))
}

// TestWhatAnotherFolderToldLastIsNotTakenBackOnceMore has a mail move to a folder
// that tells its deletion, leaves, and is forgotten. The first folder then loses
// its place and reads all of itself: the mail is not there, but that was told.
func TestWhatAnotherFolderToldLastIsNotTakenBackOnceMore(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(h *household){
		"the first folder reads all of itself": func(h *household) {
			h.mailbox.folders["folder-a"].tokens++
			for range 3 {
				h.poll("folder-a")
			}
		},
		"the first folder leaves": func(h *household) {
			for range 3 {
				h.retire("folder-a")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHousehold(t, map[string][]string{"folder-a": {"m00"}}, "folder-a", "folder-b")
			h.mailbox.move("m00", "folder-b", true)
			h.poll("folder-b")
			h.poll("folder-a")
			h.mailbox.folders["folder-b"].remove("m00")
			h.poll("folder-b")
			told := []string{"deleted m00", "snapshot m00", "updated m00"}
			same(t, "events of the mail's life", h.told(), told)
			h.retire("folder-b")
			h.later("folder-b", 2*time.Hour)
			h.retire("folder-b")
			if pieces := h.stream.pieces[h.feed("folder-b")]; len(pieces) > 0 {
				t.Fatalf("the folder that left is remembered with %d pieces", len(pieces))
			}
			begin(h)
			same(t, "events in the end", h.told(), told)
		})
	}
}
