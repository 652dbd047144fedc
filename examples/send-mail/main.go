// Command send-mail publishes a message that sends a mail, and waits for its
// outcome. It knows nothing of Outlook: JSON on a subject is all it needs.
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
	to := flag.String("to", "ann@contoso.example", "recipient")
	subject := flag.String("subject", "Hello from Go", "the mail's subject")
	key := flag.String("key", "", "idempotency key: the same key sends one mail, however often it is published")
	flag.Parse()
	if err := send(*server, *to, *subject, *key); err != nil {
		log.Fatal(err) //nolint:forbidigo // a short program may end this way
	}
}

func send(server, to, subject, key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
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

	type address struct {
		EmailAddress struct {
			Address string `json:"address"`
		} `json:"emailAddress"`
	}
	var recipient address
	recipient.EmailAddress.Address = to
	command, err := json.Marshal(map[string]any{"payload": map[string]any{"message": map[string]any{
		"subject":      subject,
		"body":         map[string]string{"contentType": "text", "content": "Sent by a message on a subject."},
		"toRecipients": []address{recipient},
	}}})
	if err != nil {
		return err
	}

	// The answer says that the command is stored, not that the mail is sent.
	var options []jetstream.PublishOpt
	if key != "" {
		options = append(options, jetstream.WithMsgID(key))
	}
	ack, err := js.Publish(ctx, "outlook.publish.send-mail", command, options...)
	if err != nil {
		return err
	}
	id := key // as long as it fits a subject: letters, digits, - and _
	if id == "" {
		id = fmt.Sprintf("%s-%d", ack.Stream, ack.Sequence)
	}

	// The outcome is the last message on the command's own subject.
	results, err := js.OrderedConsumer(ctx, "OUTLOOK_RESULT", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"outlook.result." + id}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return err
	}
	msg, err := results.Next(jetstream.FetchMaxWait(20 * time.Second))
	if err != nil {
		return fmt.Errorf("no outcome of %s yet: %w", id, err)
	}
	var outcome struct {
		Outcome string
		Status  int
		Error   struct{ Message, Hint string }
	}
	if err := json.Unmarshal(msg.Data(), &outcome); err != nil {
		return err
	}
	fmt.Println(outcome.Outcome, outcome.Status, outcome.Error.Message)
	return nil
}
