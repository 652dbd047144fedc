package config

import "outlook-connector/internal/catalog"

// Subscription brings entities of Outlook into NATS.
type Subscription struct {
	// The subscription's name, part of its subjects: lower-case letters, digits
	// and dashes, at most 63.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-z0-9][a-z0-9-]{0\\,62}$"`
	// The name of the client to use.
	Client string `yaml:"client" jsonschema:"required"`
	// What to read: a catalogue id such as mail.message.delta, or its title "Mail -
	// message: delta". Every entity that only reads will do: all that are a GET, and
	// calendar.calendar.getSchedule, calendar.user.findMeetingTimes,
	// mail.mailTips.get and settings.user.translateExchangeIds.
	Entity string `yaml:"entity" jsonschema:"required"`
	// The HTTP method. Without it the entity's; another is refused.
	Method string `yaml:"method,omitempty"`
	// Whose: a list of me (the account that granted access), addresses or object
	// ids of users, and ids of groups for the entities of groups; or {group: …}, the
	// id of a group whose members are meant, or {users: …}, a $filter over the
	// directory, both of which are followed. Without it [me].
	Mailboxes Mailboxes `yaml:"mailboxes,omitempty"`
	// How to read: delta asks only for changes, list reads all items and compares
	// them by their ids, single reads one object, or an answer as a whole. Without
	// it the one that fits the entity; another is refused.
	Mode string `yaml:"mode,omitempty" jsonschema:"enum=delta,enum=list,enum=single"`
	// The path parameters of the entity, for example {mailFolder-id: inbox}.
	Path map[string]string `yaml:"path,omitempty" show:"written"`
	// Folders of mails or contacts instead of a folder in path, as a list of paths
	// by name: inbox, Projects/*, Projects/** (all levels), !Projects/Old (not that
	// one). New folders that fit are read as they appear.
	Folders []string `yaml:"folders,omitempty" show:"written"`
	// The query parameters of the request, for example {$select:
	// "subject,from,receivedDateTime"}.
	Query map[string]string `yaml:"query,omitempty" show:"written"`
	// For calendar views, instead of startDateTime and endDateTime in query: a
	// window that moves with time.
	Window *Window `yaml:"window,omitempty"`
	// Headers of the request: Prefer, ConsistencyLevel, If-Match and If-None-Match.
	// Immutable ids are asked for without it.
	Headers map[string]string `yaml:"headers,omitempty" show:"written"`
	// Ask for ids that stay the same when an item moves within its mailbox:
	// https://learn.microsoft.com/graph/outlook-immutable-id. Default true.
	ImmutableIDs bool `yaml:"immutable_ids"`
	// The body of entities that are read by POST.
	Payload map[string]any `yaml:"payload,omitempty" show:"written"`
	// A jq program over {path, query, headers, payload}, run before each first
	// request of a round.
	RequestTransform string `yaml:"request_transform,omitempty" show:"written"`
	// Follow the links to further pages. false takes of a list its first page, so
	// that nobody can tell what was deleted, and of changes one page a poll.
	// Default true.
	Paginate bool `yaml:"paginate"`
	// How long to wait between two rounds, at least 1s; or {min: 10s, max: 10m}, an
	// interval that shrinks while much happens and grows while nothing does.
	// Default 30s.
	Every Every `yaml:"every"`
	// When to read, instead of every: a cron expression of five fields (minute,
	// hour, day of month, month, day of week), in UTC.
	Cron string `yaml:"cron,omitempty"`
	// Where to begin: now, all (everything that is there, told as snapshot), or a
	// time such as 2026-01-01T00:00:00Z, from which received mail is told. Default
	// now.
	Start Start `yaml:"start"`
	// Which changes become events. Of the first page of a list, and of an answer
	// that is taken as a whole, nothing is ever deleted. Default [created, updated,
	// deleted].
	Changes []string `yaml:"changes" jsonschema:"enum=created,enum=updated,enum=deleted"`
	// Read an item again of which Graph sent only a part: a delta function sends of
	// a changed item little more than what changed, and of a series its first event.
	// Default false.
	Hydrate bool `yaml:"hydrate"`
	// What happens to attachments of mails, events and tasks: none, they stay where
	// they are; list, the event says what there is; inline, their content is in it;
	// blob, their content is in the object store and the event refers to it.
	// Default none.
	Attachments string `yaml:"attachments" jsonschema:"enum=none,enum=list,enum=inline,enum=blob"`
	// Take the raw message (MIME) instead of JSON; for mails. Default false.
	MIME bool `yaml:"mime"`
	// A jq program over each entity; its output is the event's body, and empty
	// drops the entity.
	Transform string `yaml:"transform,omitempty" show:"written"`
	// How long an event stays in the stream, at least 1s. Default 168h.
	TTL Duration `yaml:"ttl"`
}

func (s *Subscription) setDefaults() {
	s.ImmutableIDs = true
	s.Paginate = true
	s.Every = Every{Fixed: 30 * second}
	s.Start = Start{}
	s.Changes = []string{"created", "updated", "deleted"}
	s.Attachments = "none"
	s.TTL = 168 * hour
}

// Operation returns the catalogue's operation, or nil for a subscription that
// was not checked.
func (s *Subscription) Operation() *catalog.Operation {
	op, err := catalog.Default().Lookup(s.Entity)
	if err != nil {
		return nil
	}
	return op
}
