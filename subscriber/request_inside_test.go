package subscriber

import "context"

// FirstRequest is what the first page of a poll is asked with.
func FirstRequest(ctx context.Context, sub *Subscription, mailbox string) (Request, bool, error) {
	return new(Subscriber).request(ctx, sub, mailbox)
}
