package jet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// difference is a setting that is not as it must be.
type difference struct {
	setting  string
	is, want any
	safe     bool // an update neither loses messages nor is refused by the server
}

func (d difference) String() string {
	return fmt.Sprintf("%s: is %v, should be %v", d.setting, d.is, d.want)
}

// differ collects differences of one stream or consumer.
type differ struct {
	name  string
	found []difference
}

// check compares one setting; safe says whether it may be set to want.
func check[T comparable](d *differ, setting string, is, want T, safe bool) {
	if is != want {
		d.found = append(d.found, difference{d.name + "." + setting, is, want, safe})
	}
}

// streamDifferences compares what matters to us. Settings that an operator may
// choose freely (placement, compression, size bounds, metadata, republish) are
// left alone. Replicas are compared only where the configuration names them.
func streamDifferences(is, want jetstream.StreamConfig, replicas int) []difference {
	d := &differ{name: want.Name}
	check(d, "retention", is.Retention, want.Retention, false)
	check(d, "storage", is.Storage, want.Storage, false)
	check(d, "discard", is.Discard, want.Discard, true)
	check(d, "discard_new_per_subject", is.DiscardNewPerSubject, want.DiscardNewPerSubject, true)
	check(d, "allow_direct", is.AllowDirect, want.AllowDirect, true)
	check(d, "allow_rollup", is.AllowRollup || !want.AllowRollup, true, !is.DenyPurge)
	check(d, "allow_atomic_publish", is.AllowAtomicPublish || !want.AllowAtomicPublish, true, true)
	check(d, "allow_msg_ttl", is.AllowMsgTTL || !want.AllowMsgTTL, true, true)
	// Fewer messages per subject, or a shorter age, throws messages away.
	check(d, "max_msgs_per_subject", is.MaxMsgsPerSubject, want.MaxMsgsPerSubject, looser(want.MaxMsgsPerSubject, is.MaxMsgsPerSubject))
	if want.MaxAge == 0 || is.MaxAge != 0 && is.MaxAge < want.MaxAge {
		check(d, "max_age", is.MaxAge, want.MaxAge, true)
	}
	check(d, "max_msgs", is.MaxMsgs, want.MaxMsgs, true)
	if want.Duplicates != 0 {
		check(d, "duplicate_window", is.Duplicates, want.Duplicates, true)
	}
	if replicas != 0 {
		check(d, "replicas", is.Replicas, replicas, is.Replicas < replicas)
	}
	check(d, "sealed", is.Sealed, false, false)
	// The server lets nobody take these two back.
	check(d, "deny_delete", is.DenyDelete, want.DenyDelete, want.DenyDelete)
	check(d, "deny_purge", is.DenyPurge, want.DenyPurge, want.DenyPurge)
	check(d, "no_ack", is.NoAck, false, true)
	check(d, "persist_mode", is.PersistMode, jetstream.DefaultPersistMode, false)
	check(d, "mirror", is.Mirror != nil, false, false)
	check(d, "sources", len(is.Sources) != 0, false, false)
	check(d, "subject_transform", is.SubjectTransform != nil, false, false)
	if is.MaxConsumers > 0 && is.MaxConsumers < want.MaxConsumers {
		check(d, "max_consumers", is.MaxConsumers, want.MaxConsumers, false)
	}
	if missing := missingSubjects(is.Subjects, want.Subjects); len(missing) > 0 {
		check(d, "subjects", strings.Join(is.Subjects, " "), strings.Join(want.Subjects, " "), true)
	} else if extra := missingSubjects(want.Subjects, is.Subjects); len(extra) > 0 {
		check(d, "subjects", strings.Join(is.Subjects, " "), strings.Join(want.Subjects, " "), false)
	}
	return d.found
}

// looser reports that bound a holds at least what bound b holds, -1 being none.
func looser(a, b int64) bool { return a < 0 || b > 0 && a >= b }

func missingSubjects(is, want []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(s string) bool { return slices.Contains(is, s) })
}

// applyStream returns is with every setting of want that streamDifferences
// compares, so that an operator's own settings survive an update.
func applyStream(is, want jetstream.StreamConfig, replicas int) jetstream.StreamConfig {
	is.Subjects = want.Subjects
	is.Discard, is.DiscardNewPerSubject = want.Discard, want.DiscardNewPerSubject
	is.AllowDirect = want.AllowDirect
	is.AllowRollup = is.AllowRollup || want.AllowRollup
	is.AllowAtomicPublish = is.AllowAtomicPublish || want.AllowAtomicPublish
	is.AllowMsgTTL = is.AllowMsgTTL || want.AllowMsgTTL
	is.MaxMsgsPerSubject, is.MaxMsgs = want.MaxMsgsPerSubject, want.MaxMsgs
	if want.MaxAge == 0 || is.MaxAge != 0 && is.MaxAge < want.MaxAge {
		is.MaxAge = want.MaxAge
	}
	if want.Duplicates != 0 {
		is.Duplicates = want.Duplicates
	}
	if replicas != 0 {
		is.Replicas = replicas
	}
	is.DenyDelete, is.DenyPurge = want.DenyDelete, want.DenyPurge
	is.NoAck = false
	return is
}

func consumerDifferences(stream string, is, want jetstream.ConsumerConfig) []difference {
	d := &differ{name: stream + "." + want.Durable}
	check(d, "ack_policy", is.AckPolicy, want.AckPolicy, false)
	check(d, "deliver_policy", is.DeliverPolicy, want.DeliverPolicy, false)
	check(d, "push", is.DeliverSubject != "", false, false)
	// A changed AckWait moves the deadlines of everything that is pending by
	// the difference, which passes.
	check(d, "ack_wait", is.AckWait, want.AckWait, true)
	check(d, "max_ack_pending", is.MaxAckPending, want.MaxAckPending, true)
	check(d, "max_deliver", is.MaxDeliver, want.MaxDeliver, true)
	check(d, "backoff", len(is.BackOff) != 0, false, true)
	check(d, "filter_subject", strings.Join(filters(is), " "), strings.Join(filters(want), " "), true)
	check(d, "paused", is.PauseUntil != nil, false, false)
	return d.found
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

func applyConsumer(is, want jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	is.AckWait, is.MaxAckPending, is.MaxDeliver, is.BackOff = want.AckWait, want.MaxAckPending, want.MaxDeliver, nil
	is.FilterSubject, is.FilterSubjects = want.FilterSubject, want.FilterSubjects
	return is
}
