package publisher

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// writeAttachment writes an attachment with its file. The member blob, wherever
// it stands, becomes contentBytes.
func writeAttachment(ctx context.Context, out *bytes.Buffer, files Files, a *attachment, odata string) error {
	if a.Blob == "" {
		out.Write(a.raw)
		return nil
	}
	out.Grow(len(a.raw) + base64.StdEncoding.EncodedLen(int(a.Size)) + 64)
	out.WriteByte('{')
	typed := false
	err := membersAt(a.raw, func(name string, start, end int) error {
		if name == "blob" || name == "contentBytes" {
			return nil
		}
		typed = typed || name == "@odata.type"
		quoted, err := jsontext.AppendQuote(nil, name)
		if err != nil {
			return asFault(err)
		}
		out.Write(quoted)
		out.WriteByte(':')
		out.Write(a.raw[start:end])
		out.WriteByte(',')
		return nil
	})
	if err != nil {
		return err
	}
	if !typed {
		fmt.Fprintf(out, `"@odata.type":%q,`, odata)
	}
	out.WriteString(`"contentBytes":"`)
	if err := copyBlob(ctx, out, files, a); err != nil {
		return err
	}
	out.WriteString(`"}`)
	return nil
}

// copyBlob writes a file of the object store in base64.
func copyBlob(ctx context.Context, out io.Writer, files Files, a *attachment) error {
	from, err := files.Open(ctx, a.Blob, a.Sum)
	if err != nil {
		return err
	}
	defer from.Close()
	to := base64.NewEncoder(base64.StdEncoding, out)
	n, err := io.Copy(to, io.LimitReader(from, a.Size+1))
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", a.Blob, err)
	case n != a.Size:
		return fileChanged(a)
	}
	return to.Close()
}

// fileChanged is the error of a file that is not the one that was planned for.
func fileChanged(a *attachment) error {
	return refuse("blob_changed", "%s is not the file any more that it was when the command began", a.Blob).
		WithHint("store a new file under a new name, and send the command again under a new key")
}

// blobPointer is where a payload names a file of the object store.
var blobPointer = regexp.MustCompile(`/attachments/[0-9]+/blob$`)

// strayBlobs refuses files of the object store where they cannot be taken from
// it: in an operation without attachments, or in an item that is attached. Sent on
// as they are, Graph would refuse them with a text about a property that the
// sender finds in no reference.
func strayBlobs(text jsontext.Value, at string) error {
	if !bytes.Contains(text, []byte(`"blob"`)) {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := dec.ReadToken(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return asFault(err)
		}
		if place := string(dec.StackPointer()); blobPointer.MatchString(place) {
			return refuse("not_supported", "%s%s: a file of the object store cannot be attached there", at, strings.ReplaceAll(place, "/", ".")).
				WithHint("give the attachment as contentBytes")
		}
	}
}
