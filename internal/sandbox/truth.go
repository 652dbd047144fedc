package sandbox

// The truth: what the mailboxes hold, past all of Graph, for tests to compare
// with.

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// MailboxState is what a mailbox holds.
type MailboxState struct {
	Person
	Name    string         `json:"name"`
	Folders map[string]int `json:"folders"` // messages, by well-known name or display name
}

// Stored is a message as it lies in a folder.
type Stored struct {
	ID                string    `json:"id"` // the immutable one
	InternetMessageID string    `json:"internet_message_id"`
	Subject           string    `json:"subject"`
	From              string    `json:"from,omitempty"`
	To                []string  `json:"to,omitempty"`
	Received          time.Time `json:"received"`
	IsRead            bool      `json:"is_read"`
	IsDraft           bool      `json:"is_draft"`
}

// Mailboxes lists what each mailbox holds.
func (s *Sandbox) Mailboxes() []MailboxState {
	var list []MailboxState
	s.read(func(st *state) {
		for _, b := range st.boxes {
			if b.gone {
				continue
			}
			m := MailboxState{Person: b.Person, Name: b.Name(), Folders: map[string]int{}}
			for _, f := range b.folders {
				name := f.WellKnown
				if name == "" {
					name = f.Name
				}
				m.Folders[name] += len(f.messages)
			}
			list = append(list, m)
		}
	})
	return list
}

// Stored lists the messages in a folder of a mailbox, oldest first. The folder
// is a well-known name, a display name or an id.
func (s *Sandbox) Stored(upn, folder string) ([]Stored, error) {
	var page []*message
	var box *mailbox
	found := false
	s.read(func(st *state) {
		if box = st.mailboxNamed(upn); box == nil {
			return
		}
		for _, f := range box.folders {
			if strings.EqualFold(f.WellKnown, folder) || strings.EqualFold(f.Name, folder) || makeID(idFolder, box.ID, f.Key, 0) == folder {
				page, found = slices.Clone(f.byTime), true
				return
			}
		}
	})
	if !found {
		return nil, errors.New("sandbox: no folder " + folder + " of " + upn)
	}
	list := make([]Stored, 0, len(page))
	for _, m := range page {
		st := Stored{
			ID: makeID(idImmutable, box.ID, m.Key, 0), InternetMessageID: m.InternetID, Subject: m.Subject,
			Received: time.Unix(m.Received, 0).UTC(), IsRead: m.IsRead, IsDraft: m.IsDraft,
		}
		if m.From != nil {
			st.From = m.From.EmailAddress.Address
		}
		for _, r := range m.To {
			st.To = append(st.To, r.EmailAddress.Address)
		}
		list = append(list, st)
	}
	return list, nil
}

func (s *Sandbox) controlMessages(r *http.Request) (any, error) {
	q := r.URL.Query()
	folder := q.Get("folder")
	if folder == "" {
		folder = "inbox"
	}
	list, err := s.Stored(q.Get("mailbox"), folder)
	if err != nil {
		return nil, err
	}
	return newest(list, r), nil
}
