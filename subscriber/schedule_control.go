package subscriber

import (
	"encoding/json"
	"fmt"
	"time"

	"outlook-connector/internal/fault"
)

// FeedData is what the message of a feed in the queue says, for operators. The
// zero value is a feed of which it says nothing.
type FeedData struct {
	// Registered is when the feed became known.
	Registered time.Time
	// Paused says that it is not polled until somebody resumes it.
	Paused bool
	// Resync identifies the newest full read that was asked for; "": none was.
	Resync string
	// Container is the id of the folder of a feed that discovery found.
	Container string
	// Retire says that the feed is about to end.
	Retire bool
}

// ReadFeedData reads the data of a feed's message.
func ReadFeedData(data []byte) (FeedData, error) {
	var r registration
	if err := json.Unmarshal(data, &r); err != nil {
		return FeedData{}, badData(err)
	}
	return FeedData{Registered: r.Registered, Paused: r.Paused, Resync: r.Resync, Container: r.Container, Retire: r.Retire}, nil
}

// SetPaused returns the data of a feed's message with the feed paused or
// resumed. Everything else stays, also what this version does not know; data
// that change nothing come back as they are.
func SetPaused(data []byte, paused bool) ([]byte, error) {
	if r, err := ReadFeedData(data); err != nil || r.Paused == paused {
		return data, err
	}
	var value any // null takes the member out
	if paused {
		value = true
	}
	return setMember(data, "paused", value)
}

// AskResync returns the data of a feed's message with a full read asked for,
// which id identifies. Everything else stays.
func AskResync(data []byte, id string) ([]byte, error) { return setMember(data, "resync", id) }

// setMember changes one member of a JSON object; nil takes it out.
func setMember(data []byte, name string, value any) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, badData(err)
	}
	if members == nil {
		return nil, badData(fmt.Errorf("it is %s", data))
	}
	delete(members, name)
	if value != nil {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, badData(err)
		}
		members[name] = raw
	}
	changed, err := json.Marshal(members)
	if err != nil {
		return nil, badData(err)
	}
	return changed, nil
}

func badData(err error) error {
	return fault.New(fault.Poison, "read the feed's registration: %w", err).WithCode("bad_registration").
		WithHint("it was changed by hand: delete the feed's message from the stream of feeds (nats stream rmm), and a worker registers it anew")
}

// CursorState is where a feed stands, for operators.
type CursorState struct {
	// Phase is what is being read, as in [FeedStatus].
	Phase string
	// Round counts rounds from 1, Pages the pages of the one under way that are
	// stored.
	Round, Pages int
	// Done is when the newest complete round began, by Graph's clock, At when the
	// cursor was written: a feed to which nothing comes writes it every 5
	// minutes.
	Done, At time.Time
}

// ReadCursorState reads what all kinds of cursors have in common. Nil has the
// zero value: nothing has been read yet.
func ReadCursorState(value []byte) (CursorState, error) {
	if value == nil {
		return CursorState{}, nil
	}
	var c struct {
		Phase phase     `json:"phase"`
		Round int       `json:"round"`
		Pages int       `json:"pages"`
		Done  time.Time `json:"done"`
		At    time.Time `json:"at"`
	}
	if err := json.Unmarshal(value, &c); err != nil {
		return CursorState{}, fault.New(fault.Poison, "read cursor: %w", err).WithCode("bad_cursor")
	}
	return CursorState{Phase: string(c.Phase), Round: c.Round, Pages: c.Pages, Done: c.Done, At: c.At}, nil
}

// FolderPaths reads the cursor of a feed that follows the folders of a mailbox
// and returns the paths of the folders, by the part of the feed that reads each.
func FolderPaths(value []byte) (map[string]string, error) {
	if value == nil {
		return map[string]string{}, nil
	}
	c, err := decodeDiscovery(value)
	if err != nil {
		return nil, err
	}
	paths := make(map[string]string, len(c.places))
	for id, place := range c.places {
		path := place.Name
		// Bounded, because the tree of a cursor that was written in the middle of a
		// round may have a circle.
		above := c.places[place.Parent]
		for range maxFolderDepth {
			if above == nil {
				break
			}
			path, above = above.Name+"/"+path, c.places[above.Parent]
		}
		paths[Part(id)] = path
	}
	return paths, nil
}

// maxFolderDepth bounds how many folders a path may have.
const maxFolderDepth = 300
