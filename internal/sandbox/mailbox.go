package sandbox

// What a mailbox holds, and the indexes over it. Messages are values that are
// never changed in place: a write stores another copy, so a page that was
// collected under the lock can be rendered without it.

import (
	"cmp"
	"encoding/json"
	"slices"
)

// boxKind says whose data a mailbox holds.
type boxKind byte

const (
	kindPerson    boxKind = iota
	kindGroup             // a Microsoft 365 group: conversations and a calendar
	kindDirectory         // what belongs to the tenant: places, subscriptions
)

// mailbox is the store of one person or group, or of the tenant.
type mailbox struct {
	Person
	kind boxKind
	gone bool // the person was removed
	entityStore
	folders   map[uint64]*folder
	wellKnown map[string]*folder
	messages  map[uint64]*message
	byTime    []*message // ascending
	epoch     int64      // delta tokens of an older epoch are lost
}

// folderRecord is what is kept of a folder.
type folderRecord struct {
	Key       uint64 `json:"key"`
	Parent    uint64 `json:"parent"`
	Name      string `json:"name"`
	WellKnown string `json:"well_known,omitempty"`
	Hidden    bool   `json:"hidden,omitempty"`
	Seq       int64  `json:"seq"`
	Floor     int64  `json:"floor,omitempty"` // departures up to it are forgotten; see keep.go

	Born    int64 `json:"born,omitempty"`    // of the write that made it
	Placed  int64 `json:"placed,omitempty"`  // of the write that put it below its parent
	Counted int64 `json:"counted,omitempty"` // of the write that last changed its counts
	// Departures of folders below it up to ChildFloor are forgotten; on the root,
	// those of the whole tree.
	ChildFloor int64 `json:"child_floor,omitempty"`

	Search *searchSpec        `json:"search,omitempty"` // of a search folder
	Single []extendedProperty `json:"single,omitempty"`
	Multi  []multiProperty    `json:"multi,omitempty"`
}

type folder struct {
	folderRecord
	messages map[uint64]*message
	byTime   []*message // ascending
	unread   int
	log      []change // ascending by seq; see delta.go
	dead     int      // entries of the log that a later one replaced
}

// change is one entry of a folder's change log: a message that came or changed,
// or one that left.
type change struct {
	Seq  int64  `json:"seq"`
	Key  uint64 `json:"key"`
	Gone bool   `json:"gone,omitempty"`
	// Of one that left: which ordinary id it had, when it had come into the
	// folder, and when it was received.
	Gen      uint32 `json:"gen,omitempty"`
	Born     int64  `json:"born,omitempty"`
	Received int64  `json:"received,omitempty"`
	ID       string `json:"id,omitempty"` // of an entity whose id is not made from its key
}

type address struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
}

type recipient struct {
	EmailAddress address `json:"emailAddress"`
}

type itemBody struct {
	ContentType string `json:"contentType"`
	Content     string `json:"content"`
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type extendedProperty struct {
	ID    string          `json:"id"`
	Value json.RawMessage `json:"value"`
}

type followUp struct {
	FlagStatus        string          `json:"flagStatus"`
	StartDateTime     json.RawMessage `json:"startDateTime,omitempty"`
	DueDateTime       json.RawMessage `json:"dueDateTime,omitempty"`
	CompletedDateTime json.RawMessage `json:"completedDateTime,omitempty"`
}

// message is one mail. Times are Unix seconds: Outlook keeps no fractions.
type message struct {
	Key    uint64 `json:"key"`
	Gen    uint32 `json:"gen,omitempty"` // moves so far
	Folder uint64 `json:"folder"`
	Seq    int64  `json:"seq"`  // of the last write; also the change key
	Born   int64  `json:"born"` // of the write that put it into its folder

	Created  int64 `json:"created"`
	Modified int64 `json:"modified"`
	Received int64 `json:"received"`
	Sent     int64 `json:"sent"`

	Subject      string             `json:"subject"`
	Preview      string             `json:"preview,omitempty"`
	Body         itemBody           `json:"body"`
	From         *recipient         `json:"from,omitempty"`
	Sender       *recipient         `json:"sender,omitempty"`
	To           []recipient        `json:"to,omitempty"`
	Cc           []recipient        `json:"cc,omitempty"`
	Bcc          []recipient        `json:"bcc,omitempty"`
	ReplyTo      []recipient        `json:"reply_to,omitempty"`
	Importance   string             `json:"importance"`
	Inference    string             `json:"inference"`
	IsRead       bool               `json:"is_read,omitempty"`
	IsDraft      bool               `json:"is_draft,omitempty"`
	WantDelivery bool               `json:"want_delivery,omitempty"`
	WantRead     bool               `json:"want_read,omitempty"`
	Categories   []string           `json:"categories,omitempty"`
	Flag         followUp           `json:"flag"`
	InternetID   string             `json:"internet_id"`
	Headers      []header           `json:"headers,omitempty"`
	Extended     []extendedProperty `json:"extended,omitempty"`
	Multi        []multiProperty    `json:"multi,omitempty"`
	Attachments  []*attachment      `json:"attachments,omitempty"`
	Attached     uint32             `json:"attached,omitempty"` // attachments so far, removed ones too
	Conversation string             `json:"conversation"`
	InReplyTo    string             `json:"in_reply_to,omitempty"`
	References   []string           `json:"references,omitempty"`
	Arrived      bool               `json:"arrived,omitempty"` // it came in, as opposed to written here
	Waiting      *submission        `json:"waiting,omitempty"` // accepted to be sent; see SubmitDelay

	// Kind is the @odata.type of a message that is more than a message
	// (#microsoft.graph.eventMessageRequest), Meeting what it has besides, and
	// Event the key of its event in this mailbox.
	Kind    string         `json:"kind,omitempty"`
	Meeting map[string]any `json:"meeting,omitempty"`
	Event   uint64         `json:"event,omitempty"`
	Invite  *invitation    `json:"invite,omitempty"` // on its way; see calendar_meetings.go

	// Touched says at which write a property last changed, since Born.
	Touched map[string]int64 `json:"touched,omitempty"`
}

func compareTime(a, b *message) int {
	return cmp.Or(cmp.Compare(a.Received, b.Received), cmp.Compare(a.Key, b.Key))
}

// insertByTime keeps the slice ascending. New mail is the newest, so this is
// nearly always an append.
func insertByTime(list []*message, m *message) []*message {
	if n := len(list); n == 0 || compareTime(list[n-1], m) < 0 {
		return append(list, m)
	}
	i, found := slices.BinarySearchFunc(list, m, compareTime)
	if found {
		list[i] = m
		return list
	}
	return slices.Insert(list, i, m)
}

func removeByTime(list []*message, m *message) []*message {
	if i, found := slices.BinarySearchFunc(list, m, compareTime); found {
		return slices.Delete(list, i, i+1)
	}
	return list
}

func newMailbox(p Person, kind boxKind) *mailbox {
	return &mailbox{
		Person: p, kind: kind, entityStore: newEntityStore(),
		folders: map[uint64]*folder{}, wellKnown: map[string]*folder{}, messages: map[uint64]*message{},
	}
}

// put stores a message, new or changed, and keeps the change logs.
func (b *mailbox) put(m *message) {
	old := b.messages[m.Key]
	b.counted(old, m, m.Seq)
	if old != nil {
		b.byTime = removeByTime(b.byTime, old)
		b.folders[old.Folder].take(old)
		if old.Folder != m.Folder {
			b.folders[old.Folder].bury(old, m.Seq)
		}
	}
	b.messages[m.Key] = m
	b.byTime = insertByTime(b.byTime, m)
	b.folders[m.Folder].add(m)
}

// drop removes a message for good.
func (b *mailbox) drop(key uint64, seq int64) {
	old := b.messages[key]
	if old == nil {
		return
	}
	b.counted(old, nil, seq)
	delete(b.messages, key)
	b.byTime = removeByTime(b.byTime, old)
	f := b.folders[old.Folder]
	f.take(old)
	f.bury(old, seq)
}

func (f *folder) add(m *message) {
	f.messages[m.Key] = m
	f.byTime = insertByTime(f.byTime, m)
	if !m.IsRead {
		f.unread++
	}
	f.log = append(f.log, change{Seq: m.Seq, Key: m.Key})
	f.tidy()
}

func (f *folder) take(m *message) {
	delete(f.messages, m.Key)
	f.byTime = removeByTime(f.byTime, m)
	if !m.IsRead {
		f.unread--
	}
	f.dead++
}

func (f *folder) bury(m *message, seq int64) {
	f.log = append(f.log, change{Seq: seq, Key: m.Key, Gone: true, Gen: m.Gen, Born: m.Born, Received: m.Received})
}

// current says whether the entry is the last word on its message.
func (f *folder) current(c change) bool {
	if c.Gone {
		return true // a departure stays true of the ordinary id it names
	}
	m := f.messages[c.Key]
	return m != nil && m.Seq == c.Seq
}

// tidy drops replaced entries once they are the greater part, so that the log
// is as long as the folder plus its departures, however often items change.
func (f *folder) tidy() {
	if f.dead < 1024 || f.dead < len(f.log)/2 {
		return
	}
	f.log = slices.DeleteFunc(f.log, func(c change) bool { return !f.current(c) })
	f.dead = 0
}
