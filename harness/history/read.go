package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/goccy/go-json" // decodes the same lines as encoding/json, and refuses the same, 3.5 times as fast
)

// DamagedError says which line of a history file cannot be read, and why.
type DamagedError struct {
	Path string
	Line int
	Err  error
}

// Error implements error.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("read history %s: line %d: %v", e.Path, e.Line, e.Err)
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// Read opens a history file, and calls each with its events in order. A file that cannot be read to
// its last line is a [*DamagedError]: a torn last line too, because the rest of the run is missing. What
// comes before the damage is delivered. The strings of one event share one block of memory of the size
// of its line: who keeps only a few of them for long does well to clone them.
func Read(path string, each func(Event) error) (Header, error) {
	file, err := os.Open(path)
	if err != nil {
		return Header{}, fmt.Errorf("open history: %w", err)
	}
	defer file.Close()
	return decode(path, file, each)
}

func decode(path string, from io.Reader, each func(Event) error) (Header, error) {
	reader := bufio.NewReaderSize(from, 1<<16)
	header, err := decodeHeader(reader)
	if err != nil {
		return header, &DamagedError{Path: path, Line: 1, Err: err}
	}
	number, last := 1, int64(0)
	err = decodeChunks(reader, func(c *chunk) error {
		for _, event := range c.events {
			if number++; event.Seq != last+1 {
				err := fmt.Errorf("event %d follows event %d: lines are missing", event.Seq, last)
				return &DamagedError{Path: path, Line: number, Err: err}
			}
			last = event.Seq
			if err := each(event); err != nil {
				return err
			}
		}
		if c.err != nil {
			return &DamagedError{Path: path, Line: number + 1, Err: c.err}
		}
		return nil
	})
	return header, err
}

func decodeHeader(reader *bufio.Reader) (Header, error) {
	line, err := reader.ReadBytes('\n')
	if err != nil {
		return Header{}, tornLine(line, err)
	}
	var header Header
	if err := json.Unmarshal(line, &header); err != nil {
		return header, err
	}
	if header.Schema != Schema {
		return header, fmt.Errorf("schema %d, this program reads %d", header.Schema, Schema)
	}
	return header, nil
}

func tornLine(line []byte, err error) error {
	return fmt.Errorf("torn line of %d bytes: %w", len(line), err)
}

// chunk is a run of whole lines, decoded by whichever worker is free.
type chunk struct {
	data   []byte
	events []Event // up to the first damaged line
	err    error   // what is wrong with the line after them
	ready  chan struct{}
}

// chunkSize is large enough that handing a chunk over costs nothing beside decoding it.
const chunkSize = 1 << 18

var buffers = sync.Pool{New: func() any { data := make([]byte, chunkSize); return &data }}

// decodeChunks decodes lines on all cores, and calls each with the chunks in the order of the file. It
// returns the first error of each, and leaves no goroutine behind.
func decodeChunks(from *bufio.Reader, each func(*chunk) error) error {
	workers := runtime.GOMAXPROCS(0)
	work := make(chan *chunk)
	inOrder := make(chan *chunk, 2*workers) // bounds how far decoding runs ahead
	stop := make(chan struct{})
	var running sync.WaitGroup
	defer running.Wait()
	defer close(stop)
	running.Go(func() {
		defer close(inOrder)
		defer close(work)
		for more := true; more; {
			var c *chunk
			if c, more = readChunk(from); c == nil {
				return
			}
			select {
			case inOrder <- c:
			case <-stop:
				return
			}
			work <- c // the workers take everything until this channel is closed
		}
	})
	for range workers {
		running.Go(func() {
			for c := range work {
				c.decode()
				close(c.ready)
			}
		})
	}
	for c := range inOrder {
		<-c.ready
		if err := each(c); err != nil {
			return err
		}
		if c.err != nil {
			return nil
		}
	}
	return nil
}

// readChunk reads lines. It says whether there may be more, and returns nil when there was nothing left.
func readChunk(from *bufio.Reader) (c *chunk, more bool) {
	data := *buffers.Get().(*[]byte)
	n, err := io.ReadFull(from, data[:chunkSize])
	data = data[:n]
	if err == nil && data[n-1] != '\n' {
		var rest []byte
		rest, err = from.ReadBytes('\n')
		data = append(data, rest...)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if err == io.EOF && len(data) == 0 {
		return nil, false
	}
	c = &chunk{data: data, ready: make(chan struct{})}
	if end := bytes.LastIndexByte(data, '\n') + 1; end < len(data) || err != nil && err != io.EOF {
		c.data, c.err = data[:end], tornLine(data[end:], err)
	}
	return c, err == nil
}

func (c *chunk) decode() {
	c.events = make([]Event, 0, bytes.Count(c.data, []byte{'\n'}))
	for line := range bytes.Lines(c.data) {
		n := len(c.events)
		c.events = c.events[:n+1]
		if err := json.Unmarshal(line, &c.events[n]); err != nil {
			c.events, c.err = c.events[:n], err
			break
		}
	}
	data := c.data
	c.data = nil
	buffers.Put(&data) // decoding copied what the events hold
}
