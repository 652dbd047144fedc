package httpd

import (
	"time"

	"outlook-connector/internal/health"
)

// Status is the snapshot of a running process that /status and the page show.
type Status struct {
	Version string   `json:"version"`
	Roles   []string `json:"roles"`
	NATS    string   `json:"nats"`
	// TokenRole is "owner", "client" or "candidate" (NATS has not said yet);
	// TokenOwner names the owner (host, pid, store) where it is known, and
	// TokenProblem says why this process is not the owner, with what to do.
	TokenRole    string `json:"token_role"`
	TokenOwner   string `json:"token_owner,omitempty"`
	TokenProblem string `json:"token_problem,omitempty"`
	TokenHint    string `json:"token_hint,omitempty"`

	Conditions []health.Condition `json:"conditions"`
	Clients    []ClientStatus     `json:"clients"`
	Feeds      []FeedStatus       `json:"feeds"`
	Publishers []PublisherStatus  `json:"publishers"`
	// DeadLetters counts the stored dead letters by kind (publish, event);
	// nil where NATS did not say.
	DeadLetters map[string]uint64 `json:"dead_letters"`
	// Queue is where the commands are; nil where NATS did not say lately.
	Queue *QueueStatus `json:"queue,omitempty"`
}

// QueueStatus is where the commands are that have not ended.
type QueueStatus struct {
	// Ready could be carried out now and are with no worker; Held are with one, or
	// put off. MailboxTails is how many mailbox tails have commands beside these,
	// which are carried out in order: TailCommands in all, LongestTailHas of them on
	// the subject LongestTail.
	Ready          uint64 `json:"ready"`
	Held           uint64 `json:"held"`
	MailboxTails   int    `json:"mailbox_tails"`
	TailCommands   uint64 `json:"tail_commands"`
	LongestTail    string `json:"longest_tail,omitempty"`
	LongestTailHas uint64 `json:"longest_tail_commands,omitempty"`
	// Uncertain is how many dead letters are of commands that may have had their
	// effect; -1 where that is not known.
	Uncertain int `json:"uncertain"`
}

// ClientStatus is a client and its grant.
type ClientStatus struct {
	Name    string   `json:"name"`
	State   string   `json:"state"`
	Account string   `json:"account,omitempty"`
	Scopes  []string `json:"scopes,omitempty"`
	// Grant is how the client gets its tokens: authorization_code, device_code or
	// client_credentials.
	Grant string `json:"grant,omitempty"`
	// Credential names what the client shows the sign-in server, and
	// CredentialEnds until when that is good, where it is known.
	Credential     string    `json:"credential,omitempty"`
	CredentialEnds time.Time `json:"credential_ends,omitzero"`
	// Needed are the permissions that the configuration needs, Missing those of
	// them that the grant lacks, and MissingUnknown says that this cannot be
	// known: of a token of an application, or before the owner was asked.
	Needed         []string `json:"needed,omitempty"`
	Missing        []string `json:"missing,omitempty"`
	MissingUnknown bool     `json:"missing_unknown,omitempty"`
	// NotOffered are configured entities that Microsoft offers to no permission of
	// this kind of access.
	NotOffered []string `json:"not_offered,omitempty"`
	// Granted is when somebody last signed in.
	Granted time.Time `json:"granted,omitzero"`
	Expiry  time.Time `json:"expiry,omitzero"`
	Error   string    `json:"error,omitempty"`
	Hint    string    `json:"hint,omitempty"`
}

// FeedStatus is a feed as this process last polled it.
type FeedStatus struct {
	Subscription string `json:"subscription"`
	Mailbox      string `json:"mailbox"`
	Part         string `json:"part"`
	// State sums it up: ok, failing, paused or unpolled (not by this process yet).
	State    string    `json:"state,omitempty"`
	Phase    string    `json:"phase,omitempty"`
	LastPoll time.Time `json:"last_poll,omitzero"`
	NextPoll time.Time `json:"next_poll,omitzero"`
	// Result is how the last poll ended, and Lag for how many seconds the feed
	// has been behind.
	Result string  `json:"result,omitempty"`
	Lag    float64 `json:"lag_seconds,omitempty"`
	Error  string  `json:"error,omitempty"`
	Hint   string  `json:"hint,omitempty"`
}

// PublisherStatus is a publisher and what it promises.
type PublisherStatus struct {
	Name      string   `json:"name"`
	Client    string   `json:"client"`
	Subject   string   `json:"subject"`
	Entities  []string `json:"entities"`
	Mailboxes []string `json:"mailboxes"`
	Delivery  string   `json:"delivery"`
	// Weaker says of which of its entities the delivery promises less than its name:
	// sentences for people.
	Weaker []string `json:"weaker,omitempty"`
}
