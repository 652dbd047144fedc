package worker

import (
	"context"
	"errors"
	"fmt"
	"io"

	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// blobStore is the object store as the publisher sees it: the files that commands
// attach.
type blobStore struct {
	conn *jet.Conn
}

var (
	_ publisher.Files   = blobStore{}
	_ publisher.Uploads = outlookUploads{}
)

// Stat tells a file's size and sum.
func (s blobStore) Stat(ctx context.Context, name string) (publisher.File, error) {
	size, sum, err := s.conn.StatBlob(ctx, name)
	if err != nil {
		return publisher.File{}, noBlob(err)
	}
	return publisher.File{Size: size, Sum: sum}, nil
}

// Open reads a file in constant memory.
func (s blobStore) Open(ctx context.Context, name, sum string) (io.ReadCloser, error) {
	from, err := s.conn.OpenBlob(ctx, name, sum)
	return from, noBlob(err)
}

// noBlob marks the error of what is not there as the publisher knows it.
func noBlob(err error) error {
	if errors.Is(err, jet.ErrNotFound) {
		return fmt.Errorf("%w: %w", publisher.ErrNoBlob, err)
	}
	return err
}

// outlookUploads are the upload sessions of the clients.
type outlookUploads struct {
	outlook outlook
}

// Put sends a piece.
func (u outlookUploads) Put(ctx context.Context, s publisher.Session, p publisher.Piece) (publisher.Progress, error) {
	client, err := u.outlook.client(s.Client)
	if err != nil {
		return publisher.Progress{}, err
	}
	got, err := client.PutPiece(ctx, graphUpload(s), p.From, p.Size, p.Data)
	return progressOf(got, err), err
}

// State asks how far a session is.
func (u outlookUploads) State(ctx context.Context, s publisher.Session) (publisher.Progress, error) {
	client, err := u.outlook.client(s.Client)
	if err != nil {
		return publisher.Progress{}, err
	}
	got, err := client.UploadState(ctx, graphUpload(s))
	return progressOf(got, err), err
}

// Cancel ends a session.
func (u outlookUploads) Cancel(ctx context.Context, s publisher.Session) error {
	client, err := u.outlook.client(s.Client)
	if err != nil {
		return err
	}
	return client.CancelUpload(ctx, graphUpload(s))
}

func graphUpload(s publisher.Session) graph.Upload {
	return graph.Upload{Mailbox: s.Mailbox, URL: s.URL, ClientRequestID: s.RequestID, Deadline: s.Deadline}
}

func progressOf(got graph.Uploaded, err error) publisher.Progress {
	if err != nil {
		return publisher.Progress{Answer: answerOf(err)}
	}
	return publisher.Progress{
		Next: got.Next, Done: got.Done, ID: got.ID,
		Answer: publisher.Answer{Status: got.Status, RequestID: got.RequestID, ClientRequestID: got.ClientRequestID},
	}
}
