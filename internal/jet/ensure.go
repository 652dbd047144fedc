package jet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// oldest is the oldest server line that was measured and is supported: batch
// commits, per-message TTL and consumer fixes that the connector leans on.
const oldestMajor, oldestMinor = 2, 14

// SetupError lists every setting of streams and consumers that does not fit.
type SetupError struct {
	// Problems has one sentence each, "STREAM.setting: is X, should be Y", or
	// "STREAM: missing".
	Problems []string
}

// Error returns all problems.
func (e *SetupError) Error() string {
	return "nats streams do not fit: " + strings.Join(e.Problems, "; ")
}

// EnsureStreams makes the streams, consumers and the object store, or checks
// those that exist, and returns a [*SetupError] of kind Fatal that lists
// everything that does not fit. With ManageStreams it changes first what can be
// changed without losing messages. It waits for a connection and tries again
// after errors that pass (kind Retry), as long as ctx lasts; with FailFast it
// returns them. [Conn.Ready] tells its last result. It may be called again.
func (c *Conn) EnsureStreams(ctx context.Context) error {
	for last := ""; ; {
		err := c.ensure(ctx)
		if fault.Stopped(ctx, err) {
			return err
		}
		c.mu.Lock()
		c.streamsErr = err
		c.mu.Unlock()
		if err == nil || c.o.FailFast || fault.KindOf(err) != fault.Retry {
			return err
		}
		if text := err.Error(); text != last {
			last = text
			c.log.WarnContext(ctx, "streams cannot be set up yet", "error", err, "hint", fault.HintOf(err))
		}
		if err := wait(ctx, nil, time.Second); err != nil {
			return fmt.Errorf("set up streams: %w", err)
		}
	}
}

func (c *Conn) ensure(ctx context.Context) error {
	if err := c.waitConnected(ctx); err != nil {
		return err
	}
	if err := checkVersion(c.nc.ConnectedServerVersion()); err != nil {
		return err
	}
	var problems []string
	consumers := c.consumerConfigs()
	for _, want := range c.streamConfigs() {
		found, err := c.step(ctx, want.Name, func(ctx context.Context) ([]string, error) { return c.ensureStream(ctx, want) })
		problems = append(problems, found...)
		if err != nil {
			return err
		}
		consumer, wanted := consumers[want.Name]
		if !wanted || slices.Contains(found, missing(want.Name)) {
			continue
		}
		found, err = c.step(ctx, want.Name+"."+consumer.Durable, func(ctx context.Context) ([]string, error) {
			return c.ensureConsumer(ctx, want.Name, consumer)
		})
		problems = append(problems, found...)
		if err != nil {
			return err
		}
	}
	blobs := c.blobConfig()
	found, err := c.step(ctx, blobs.Bucket, func(ctx context.Context) ([]string, error) { return c.ensureBlobs(ctx, blobs) })
	if err != nil {
		return err
	}
	if problems = append(problems, found...); len(problems) == 0 {
		return nil
	}
	hint := "run outlook-connector setup as a user who may make streams, or set nats.manage_streams: true"
	switch {
	case c.o.ManageStreams:
		hint = "these cannot be changed without losing messages: edit or delete them with the nats CLI, or set another nats.prefix"
	case slices.Contains(problems, missing(c.names.AuditStream())):
		hint += "; where no audit record is wanted, set audit: {enabled: false}"
	}
	return fault.New(fault.Fatal, "%w", &SetupError{Problems: problems}).WithCode("streams_differ").WithHint("%s", hint)
}

// step runs the few requests that set up one thing.
func (c *Conn) step(ctx context.Context, name string, f func(ctx context.Context) ([]string, error)) (problems []string, err error) {
	err = c.do(ctx, func(ctx context.Context) (err error) {
		problems, err = f(ctx)
		return err
	})
	return problems, mark(ctx, err, "set up %s", name)
}

// checkVersion refuses servers older than the supported line.
func checkVersion(version string) error {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) == 3 {
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		if err1 == nil && err2 == nil && (major > oldestMajor || major == oldestMajor && minor >= oldestMinor) {
			return nil
		}
	}
	return fault.New(fault.Fatal, "nats server %q is older than %d.%d", version, oldestMajor, oldestMinor).
		WithCode("nats_version").WithHint("upgrade the NATS server")
}

func missing(name string) string { return name + ": missing" }

func (c *Conn) ensureStream(ctx context.Context, want jetstream.StreamConfig) ([]string, error) {
	stream, err := c.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if !c.o.ManageStreams {
			return []string{missing(want.Name)}, nil
		}
		// Another worker may make the same stream at this moment: the server
		// answers with the existing one where the settings are the same.
		stream, err = c.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = c.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, err
	}
	is := stream.CachedInfo().Config
	found := streamDifferences(is, want, c.o.Replicas)
	if len(found) > 0 && c.o.ManageStreams && allSafe(found) {
		if stream, err = c.js.UpdateStream(ctx, applyStream(is, want, c.o.Replicas)); err != nil {
			return nil, fmt.Errorf("change it (%s): %w", join(found), err)
		}
		c.log.InfoContext(ctx, "stream settings changed", "stream", want.Name, "changes", join(found))
		found = streamDifferences(stream.CachedInfo().Config, want, c.o.Replicas)
	}
	c.mu.Lock()
	c.handles[want.Name] = stream
	c.mu.Unlock()
	return texts(found), nil
}

func (c *Conn) ensureConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) ([]string, error) {
	consumer, err := c.js.Consumer(ctx, stream, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if !c.o.ManageStreams {
			return []string{missing(stream + "." + want.Durable)}, nil
		}
		consumer, err = c.js.CreateConsumer(ctx, stream, want)
		if errors.Is(err, jetstream.ErrConsumerExists) {
			consumer, err = c.js.Consumer(ctx, stream, want.Durable)
		}
	}
	if err != nil {
		return nil, err
	}
	is := consumer.CachedInfo().Config
	found := consumerDifferences(stream, is, want)
	if len(found) > 0 && c.o.ManageStreams && allSafe(found) {
		if consumer, err = c.js.UpdateConsumer(ctx, stream, applyConsumer(is, want)); err != nil {
			return nil, fmt.Errorf("change it (%s): %w", join(found), err)
		}
		c.log.InfoContext(ctx, "consumer settings changed", "stream", stream, "consumer", want.Durable, "changes", join(found))
		// The answer to the first update after a restart of the server shows
		// the settings before it (2.15.2), so it is asked again.
		info, err := consumer.Info(ctx)
		if err != nil {
			return nil, err
		}
		found = consumerDifferences(stream, info.Config, want)
	}
	return texts(found), nil
}

func (c *Conn) ensureBlobs(ctx context.Context, want jetstream.ObjectStoreConfig) ([]string, error) {
	name := "OBJ_" + want.Bucket
	stream, err := c.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if !c.o.ManageStreams {
			return []string{missing(want.Bucket)}, nil
		}
		if _, err = c.js.CreateObjectStore(ctx, want); err == nil || errors.Is(err, jetstream.ErrBucketExists) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	is := stream.CachedInfo().Config
	d := &differ{name: want.Bucket}
	check(d, "storage", is.Storage, want.Storage, false)
	if is.MaxAge != 0 && is.MaxAge < want.TTL { // an operator may keep bodies longer
		check(d, "max_age", is.MaxAge, want.TTL, true)
	}
	if c.o.Replicas != 0 {
		check(d, "replicas", is.Replicas, c.o.Replicas, is.Replicas < c.o.Replicas)
	}
	if len(d.found) > 0 && c.o.ManageStreams && allSafe(d.found) {
		is.MaxAge, is.Replicas = max(is.MaxAge, want.TTL), max(is.Replicas, want.Replicas)
		if _, err := c.js.UpdateStream(ctx, is); err != nil {
			return nil, fmt.Errorf("change it (%s): %w", join(d.found), err)
		}
		return nil, nil
	}
	return texts(d.found), nil
}

// stream returns the handle of a stream, asking the server once.
func (c *Conn) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	c.mu.Lock()
	s, ok := c.handles[name]
	c.mu.Unlock()
	if ok {
		return s, nil
	}
	s, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.handles[name] = s
	c.mu.Unlock()
	return s, nil
}

func allSafe(found []difference) bool {
	return !slices.ContainsFunc(found, func(d difference) bool { return !d.safe })
}

func texts(found []difference) []string {
	list := make([]string, 0, len(found))
	for _, d := range found {
		list = append(list, d.String())
	}
	return list
}

func join(found []difference) string { return strings.Join(texts(found), "; ") }
