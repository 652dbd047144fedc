package subscriber

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// registration is the data of a feed's message. Its JSON outlives versions of
// this program: members may be added, not changed. What a version does not know
// is lost when it writes the data anew, so only those write that have to.
type registration struct {
	Version int `json:"v"`
	// Registered is the subscription's beginning for start: now.
	Registered time.Time `json:"registered"`
	// Paused stops the polls until an operator resumes the feed.
	Paused bool `json:"paused,omitempty"`
	// Resync asks for a full read: each value that differs from the newest one
	// handled asks for one more. "" asks for none.
	Resync string `json:"resync,omitempty"`
	// Container is the id of the folder of a feed that discovery found; "" for
	// one that the configuration names.
	Container string `json:"container,omitempty"`
	// Path are the path parameters of such a feed's request, over those of the
	// subscription.
	Path map[string]string `json:"path,omitempty"`
	// Mailbox is the mailbox as it goes into requests, for a feed whose mailbox
	// discovery found; "" for one that the configuration names.
	Mailbox string `json:"mailbox,omitempty"`
	// New says of such a feed that its folder or mailbox came to be after the
	// subscription began, so that all that is in it is new.
	New bool `json:"new,omitempty"`
	// Found is the round of the discovery in which that was decided.
	Found int `json:"found,omitempty"`
	// Retire ends the feed: it tells what it knows as gone, and is dropped.
	Retire bool `json:"retire,omitempty"`
	// Schedule identifies the schedule by which the feed is polled, see
	// [Subscription.schedule]. Where a worker has another one it writes the data
	// anew, so that the feed does not sleep for as long as the older schedule said.
	Schedule string `json:"schedule,omitempty"`
}

// registrationVersion is the form of the JSON above.
const registrationVersion = 1

// encode returns the JSON to be stored.
func (r registration) encode() ([]byte, error) {
	r.Version = registrationVersion
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode registration: %w", err)
	}
	return data, nil
}

// over returns what the message of a feed should say that says old now, where
// this is what a discovery has decided. What operators have set stays, but a feed
// that is to retire is not paused. Where nothing is different old comes back: the
// step may be a repeated one.
func (r registration) over(old []byte) ([]byte, error) {
	var was registration
	if json.Unmarshal(old, &was) == nil {
		if was.Found == r.Found && was.Retire == r.Retire && was.Mailbox == r.Mailbox && was.Schedule == r.Schedule {
			return old, nil
		}
		r.Resync, r.Paused = was.Resync, was.Paused && !r.Retire
	}
	return r.encode()
}

// rescheduled returns the data of a feed's message with another schedule. A feed
// that is to retire keeps what it has.
func rescheduled(data []byte, schedule string) ([]byte, error) {
	var was registration
	if err := json.Unmarshal(data, &was); err != nil || was.Retire || was.Schedule == schedule {
		return data, nil //nolint:nilerr // what cannot be read begins anew with the next poll
	}
	return setMember(data, "schedule", schedule)
}

// registered reads the data of a feed. Data that cannot be read are no reason
// to stand still: the feed begins now.
func (s *Subscriber) registered(ctx context.Context, feed Feed, data []byte) registration {
	var r registration
	err := json.Unmarshal(data, &r)
	if err == nil && !r.Registered.IsZero() {
		return r
	}
	s.log.WarnContext(ctx, "registration of feed is not readable", "feed", feed.String(), "error", err)
	r.Registered = time.Now()
	return r
}
