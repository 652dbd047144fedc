package worker

import (
	"outlook-connector/internal/jet"
	"outlook-connector/subscriber"
)

// FeedStream is JetStream as a subscriber sees it.
type FeedStream interface {
	subscriber.Stream
	subscriber.Queue
	subscriber.DeadLetters
}

// FeedsOf returns the streams of a connection as a worker gives them to its
// subscriber, for what runs one without a worker around it.
func FeedsOf(conn *jet.Conn) FeedStream { return feedStream{conn: conn} }
