package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// endWithin is how long a part may take to end.
const endWithin = 30 * time.Second

// process is a part that runs.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	err  *tail
	url  string // where it listens
}

// spawn starts a part and waits until it is ready. Command is how this program
// is told to be one. The caller ends it.
func spawn(ctx context.Context, name string, command []string, spec Spec) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p := &process{name: name, err: new(tail)}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), path, command...)
	p.cmd.Args[0] = os.Args[0]
	p.cmd.Stderr = p.err
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	line, err := json.Marshal(spec)
	if err == nil {
		_, _ = p.in.Write(append(line, '\n')) // one that has ended already says why below
	}
	var ready told
	if err == nil && spec.Raw == nil { // that one only tells what it found
		ready, err = p.hear(ctx)
	}
	if err != nil {
		_ = p.end() // the error has the end of its log already
		return nil, err
	}
	p.url = ready.URL
	return p, nil
}

// hear waits for what the part says next. Where it says nothing more, the error
// has the end of its log.
func (p *process) hear(ctx context.Context) (told, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.in.Close() }) // it ends, and with it its output
	defer stop()
	var t told
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &t)
	}
	switch {
	case err == nil:
		return t, nil
	case ctx.Err() != nil:
		return t, context.Cause(ctx)
	default:
		_ = p.end() // its log is whole only then
		return t, fmt.Errorf("the %s ended: %s", p.name, p.err)
	}
}

// end asks the part to end and waits for it.
func (p *process) end() error {
	_ = p.in.Close()
	late := time.AfterFunc(endWithin, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_, _ = io.Copy(io.Discard, p.out)
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the %s: %w: %s", p.name, err, p.err)
	}
	return nil
}

// usage is what the part has used so far.
func (p *process) usage() usage { return usageOf(p.cmd.Process.Pid) }

// tail keeps the end of a log.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// tailSize is how much of a log is kept.
const tailSize = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}
