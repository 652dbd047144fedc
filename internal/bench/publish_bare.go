package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// BareSpec is the bare loop from JetStream to HTTP: what somebody would write
// who wants nothing but speed.
type BareSpec struct {
	// URL is the NATS server's, Stream and Consumer say what to read there.
	URL      string `json:"url"`
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`
	// Target is where each message's body goes.
	Target string `json:"target"`
	// InFlight is how many requests are made at a time.
	InFlight int `json:"in_flight"`
	// CPUProfile is a file to write; empty means none.
	CPUProfile string `json:"cpu_profile,omitempty"`
}

// runBare takes messages, posts them and acknowledges them, until ctx ends. It
// waits for nothing that it need not wait for: an ack is sent and forgotten.
func runBare(ctx context.Context, spec BareSpec, tell func(told) error) error {
	stop, err := profileCPU(spec.CPUProfile)
	if err != nil {
		return err
	}
	defer stop()
	stream, err := openStream(spec.URL)
	if err != nil {
		return err
	}
	defer stream.nc.Close()
	consumer, err := stream.js.Consumer(ctx, spec.Stream, spec.Consumer)
	if err != nil {
		return fmt.Errorf("read %s.%s: %w", spec.Stream, spec.Consumer, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(2 * spec.InFlight))
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	end := context.AfterFunc(ctx, messages.Stop)
	defer end()
	if err := tell(told{}); err != nil {
		return err
	}
	web := &http.Client{Transport: &http.Transport{MaxConnsPerHost: spec.InFlight, MaxIdleConnsPerHost: spec.InFlight}}
	defer web.CloseIdleConnections()
	var group errgroup.Group
	for range spec.InFlight {
		group.Go(func() error {
			for ctx.Err() == nil {
				if err := doNext(ctx, messages, web, spec.Target); err != nil && ctx.Err() == nil {
					messages.Stop()
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// doNext does what the next message says.
func doNext(ctx context.Context, messages jetstream.MessagesContext, web *http.Client, target string) error {
	m, err := messages.Next()
	if err == nil {
		err = post(ctx, web, target, m.Data())
	}
	if err == nil {
		err = m.Ack()
	}
	return err
}

func post(ctx context.Context, web *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := web.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("the sink answered %s", resp.Status)
	}
	return err
}
