// Command consume-inbox prints incoming mail. Its durable consumer remembers
// where it stopped: start it again and it goes on there.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	server := flag.String("server", nats.DefaultURL, "NATS address")
	count := flag.Int("count", 0, "end after this many events; 0 means never")
	flag.Parse()
	if err := consume(*server, *count); err != nil {
		log.Fatal(err) //nolint:forbidigo // a short program may end this way
	}
}

func consume(server string, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nc, err := nats.Connect(server)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	inbox, err := js.CreateOrUpdateConsumer(ctx, "OUTLOOK_EVENTS", jetstream.ConsumerConfig{
		Durable:       "print-inbox",
		FilterSubject: "outlook.event.inbox.>",
		AckPolicy:     jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return err
	}
	messages, err := inbox.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for seen := 0; count == 0 || seen < count; seen++ {
		msg, err := messages.Next()
		if err != nil {
			return err
		}
		if err := show(msg); err != nil {
			return err
		}
		// Acknowledge after the work is done: a crash before it brings the event
		// again, with the same ce-id.
		if err := msg.Ack(); err != nil {
			return err
		}
	}
	return nil
}

func show(msg jetstream.Msg) error {
	var mail struct {
		Subject          string
		ReceivedDateTime time.Time
		From             struct{ EmailAddress struct{ Address string } }
	}
	if err := json.Unmarshal(msg.Data(), &mail); err != nil {
		return err
	}
	header := msg.Headers()
	fmt.Printf("%s %q from %s at %s (%s)\n", header.Get("Outlook-Change"), mail.Subject,
		mail.From.EmailAddress.Address, mail.ReceivedDateTime.Format(time.RFC3339), header.Get("ce-id"))
	return nil
}
