package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Recorder orders events and appends them to a history file. It is safe for concurrent use.
type Recorder struct {
	start time.Time
	ops   atomic.Int64

	mu     sync.Mutex
	file   *os.File
	buffer *bufio.Writer
	seq    int64
	err    error // of the first write that did not succeed; no other follows it
	closed error // what Close returned
	watch  []func(Event)
}

// Create starts a history file at path. The returned recorder's clock starts now.
func Create(path string, header Header) (*Recorder, error) {
	header.Schema = Schema
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create history: %w", err)
	}
	r := &Recorder{start: time.Now(), file: file, buffer: bufio.NewWriterSize(file, 1<<16)}
	if err := r.line(header); err != nil {
		return nil, errors.Join(fmt.Errorf("write history header: %w", err), file.Close())
	}
	return r, nil
}

// Watch calls fn with every later event, in order and under the recorder's lock: fn must be quick and
// must not call the recorder.
func (r *Recorder) Watch(fn func(Event)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watch = append(r.watch, fn)
}

// Append gives the event its sequence number and time, writes it, and returns the number. A write
// error is kept, stops later writes, and is returned by [Recorder.Close].
func (r *Recorder) Append(e Event) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	e.Seq, e.At = r.seq, time.Since(r.start)
	if r.err == nil {
		r.err = r.line(e)
	}
	for _, fn := range r.watch {
		fn(e)
	}
	return e.Seq
}

// NextOp returns an ID for an operation, unique in this history.
func (r *Recorder) NextOp() int64 { return r.ops.Add(1) }

// Now is the time on the history's clock.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Close flushes the file. It returns the first error of any write; closing twice returns it again. Later
// appends write nothing.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return r.closed
	}
	if err := errors.Join(r.err, r.buffer.Flush(), r.file.Close()); err != nil {
		r.closed = fmt.Errorf("save history: %w", err)
	}
	r.file, r.err = nil, os.ErrClosed
	return r.closed
}

func (r *Recorder) line(value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if _, err := r.buffer.Write(data); err != nil {
		return err
	}
	return r.buffer.WriteByte('\n')
}
