package publisher

import (
	"context"
	"encoding/json"
	"time"

	"outlook-connector/internal/fault"
)

// seeker looks into a mailbox for the effect of a request of which nobody knows
// whether it had one.
type seeker struct {
	w      *Worker
	plan   *plan
	recipe *recipe
	step   *step
	marker marker
	rec    record
	// requests counts what was asked, status is of the newest answer.
	requests int
	status   int
}

// read makes a request that only reads and decodes its answer.
func (s *seeker) read(ctx context.Context, call Call, into any) error {
	call.RequestID = newTry()
	answer, err := s.w.outlook.Do(ctx, call)
	s.requests++
	s.status = answer.Status
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer.Body, into); err != nil {
		return fault.New(fault.Retry, "answer of %s is not understood: %w", call.Operation.ID, err).WithCode("bad_answer")
	}
	return nil
}

// gone reports whether the newest read failed because there is no such item.
func (s *seeker) gone(err error) bool { return err != nil && missing(s.status, err) }

// skew is by how much the clocks of the worker and of Exchange may differ.
const skew = 2 * time.Minute

// since is the moment after which an effect of the command's own can have come.
func (s *seeker) since() time.Time { return s.rec.Begun.Add(-skew).UTC().Truncate(time.Second) }
