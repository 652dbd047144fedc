package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/sandbox"
)

const (
	// childEnv makes this program one that uploads: a JSON [uploadJob].
	childEnv = "PUBLISHER_TEST_UPLOAD"
	// megabytesEnv is how large the attachment is; make prove sets 150.
	megabytesEnv = "PUBLISHER_TEST_UPLOAD_MB"
	// mostMemory is by how much an upload may make a process grow.
	mostMemory = 64 << 20
)

// uploadJob is what a process is told to do.
type uploadJob struct {
	NATS, Graph, Token string
	Payload            json.RawMessage
	Draft, State       string
}

// TestALargeAttachmentTakesNoMemory sends a file from the object store in a
// process of its own, which is killed half-way; a second one goes on.
func TestALargeAttachmentTakesNoMemory(t *testing.T) {
	if text := os.Getenv(childEnv); text != "" {
		uploadInChild(t, text)
		return
	}
	megabytes, err := strconv.Atoi(os.Getenv(megabytesEnv))
	if err != nil {
		megabytes = 20
	}
	size := int64(megabytes) * 1_000_000
	r := newRig(t)
	server, err := embedded.Start(t.Context(), embedded.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Open: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.WithoutCancel(t.Context())) })
	conn := connectJet(t, server.URL())
	large := func() io.Reader { return io.LimitReader(&repeated{noise(1, 1<<20), 0}, size) }
	name, _, _, err := conn.PutBlobFrom(t.Context(), "large", large())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	job := uploadJob{NATS: server.URL(), Graph: r.box.GraphURL(), Token: r.token, State: filepath.Join(dir, "state")}
	job.Payload = fmt.Appendf(nil, `{"subject":"s","attachments":[{"name":"large","blob":%q}]}`, name)
	job.Draft = r.post("mail.message.create", nil, []byte(`{"subject":"s"}`))

	var pieces atomic.Int32
	half := make(chan struct{})
	rule := r.box.KeepControl(putMatch(), func(*sandbox.Request) bool {
		if pieces.Add(1) == int32(size/pieceSize/2) {
			close(half)
		}
		return false
	})
	started := time.Now()
	if _, err := uploadChild(t, job, half); err == nil {
		t.Fatal("the first process was not killed half-way")
	}
	killed := pieces.Load()
	grown, err := uploadChild(t, job, nil)
	if err != nil {
		t.Fatal(err)
	}
	rule.Remove()
	in := uploadWork{kind: ofMail, params: map[string]string{"message-id": job.Draft}}
	got := r.attached(in)
	want, err := io.ReadAll(large())
	if err != nil || len(got) != 1 || !bytes.Equal(got[0].content, want) {
		t.Fatalf("%d attachments: %v", len(got), err)
	}
	whole := int32((size + pieceSize - 1) / pieceSize)
	t.Logf("%d MB in %v, killed after %d of %d pieces, %d pieces in all; the process that went on grew by %.1f MiB",
		megabytes, time.Since(started).Round(time.Millisecond), killed, whole, pieces.Load(), float64(grown)/(1<<20))
	if pieces.Load() > whole+2 {
		t.Errorf("%d pieces for %d", pieces.Load(), whole)
	}
	if grown > mostMemory {
		t.Errorf("an upload took %d MiB", grown>>20)
	}
}

// uploadChild runs a process until it is done, or kills it. It returns by how much
// the process grew.
func uploadChild(t *testing.T, job uploadJob, kill <-chan struct{}) (grown int64, err error) {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestALargeAttachmentTakesNoMemory$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-kill:
		_ = cmd.Process.Kill()
		err = <-ended
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, &out)
	}
	_, rest, _ := strings.Cut(out.String(), "grown=")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}

// uploadInChild is the process.
func uploadInChild(t *testing.T, text string) {
	t.Helper()
	var job uploadJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		t.Fatal(err)
	}
	conn := connectJet(t, job.NATS)
	r := &rig{t: t, token: job.Token}
	var err error
	if r.client, err = graph.New(graph.Options{Name: "contoso", BaseURL: job.Graph, Tokens: r, Limits: graph.Limits{UploadBytes: 1 << 40}}); err != nil {
		t.Fatal(err)
	}
	defer r.client.Close()
	r.up = r.process()
	r.up.files = jetFiles{conn}
	before := memory(t)
	_, big, err := splitAttachments(t.Context(), r.up.files, r.operation("mail.message.create"), job.Payload)
	if err != nil || len(big) != 1 {
		t.Fatalf("%d attachments: %v", len(big), err)
	}
	in := uploadWork{
		client: "contoso", mailbox: "me", kind: ofMail, params: map[string]string{"message-id": job.Draft}, big: big,
		log: slog.New(slog.DiscardHandler),
	}
	in.save = func(_ context.Context, s uploadState) error {
		data, err := json.Marshal(s)
		return errors.Join(err, os.WriteFile(job.State, data, 0o600))
	}
	if data, err := os.ReadFile(job.State); err == nil {
		if err := json.Unmarshal(data, &in.state); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.up.all(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\ngrown=%d\n", memory(t)-before)
}

// memory is the highest that this process had so far, in bytes.
func memory(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil { // another system than Linux
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.Sys)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("the system does not tell the memory of this process")
	return 0
}

// connectJet connects to NATS with the streams set up.
func connectJet(t *testing.T, url string) *jet.Conn {
	t.Helper()
	conn, err := jet.Connect(t.Context(), jet.Options{URL: url, ManageStreams: true, FailFast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	if err := conn.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn
}

// jetFiles are the files of the real object store.
type jetFiles struct{ conn *jet.Conn }

func (f jetFiles) Stat(ctx context.Context, name string) (File, error) {
	size, sum, err := f.conn.StatBlob(ctx, name)
	return File{Size: size, Sum: sum}, err
}

func (f jetFiles) Open(ctx context.Context, name, sum string) (io.ReadCloser, error) {
	return f.conn.OpenBlob(ctx, name, sum)
}

// repeated is a pattern without an end.
type repeated struct {
	pattern []byte
	at      int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.pattern[r.at:])
	r.at = (r.at + n) % len(r.pattern)
	return n, nil
}
