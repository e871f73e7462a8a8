package stack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// lend makes the container write its log to the file and its events to record from now on: a broker
// serves one environment after another.
func (c *container) lend(log string, record recorder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log, c.record, c.since = log, record, time.Now()
}

// follow copies the container's output to the log until the run ends.
func (c *container) follow(ctx context.Context, since time.Time) {
	out, err := c.engine.client.ContainerLogs(ctx, c.id, client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Follow: true, Since: stamp(since),
	})
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.writeLog(fmt.Sprintf("--- no log: %v\n", err))
		return
	}
	defer out.Close()
	sink := logSink{c}
	_, _ = stdcopy.StdCopy(sink, sink, out) // ends with the run
}

// logs returns the container's output since then, as far as there is.
func (c *container) logs(ctx context.Context, since time.Time) (io.Reader, error) {
	out, err := c.engine.client.ContainerLogs(ctx, c.id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Since: stamp(since)})
	if err != nil {
		return nil, fmt.Errorf("read log of %s: %w", c.Name(), err)
	}
	defer out.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, out); err != nil {
		return nil, fmt.Errorf("read log of %s: %w", c.Name(), err)
	}
	return &text, nil
}

// stamp is a time as the engine reads it.
func stamp(t time.Time) string {
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// logSink appends to the log that the container has at the moment.
type logSink struct{ c *container }

func (s logSink) Write(p []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.writeLog(string(p))
	return len(p), nil
}

// writeLog appends to the log; the caller holds mu. A log that cannot be written is not worth ending a run.
func (c *container) writeLog(text string) {
	if c.log == "" {
		return
	}
	file, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	_, _ = file.WriteString(text)
	_ = file.Close()
}

// LastLog implements [Node].
func (c *container) LastLog(n int) []string { return lastLines(c.LogPath(), n) }

// LogPath implements [Node].
func (c *container) LogPath() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log
}
