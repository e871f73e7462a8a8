package link

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/rs/zerolog"
)

// pipeline runs Toxiproxy's toxics over one direction of one connection. It has a toxic collection of its
// own, whose toxics never change: see [flow.retool]. Its output never fails, so that Toxiproxy's
// goroutines, which leak when a destination fails, always run to their end.
type pipeline struct {
	flow    *flow
	toxics  *toxiproxy.ToxicCollection
	input   *io.PipeWriter
	limit   int64 // bytes it will take, -1 for any number
	chunk   int   // most bytes at a time
	fed     int64 // the forwarder's own
	aborted sync.Once
	ended   chan struct{} // the output is closed

	mu      sync.Mutex
	changed *sync.Cond
	marks   []mark // absolute offsets
	passed  int64
	closed  bool
	discard bool
}

// maxChunk is the most that Toxiproxy copies at a time.
const maxChunk = 32 << 10

// server carries Toxiproxy's metrics and log, both off. The toxics themselves trace through zerolog's global
// logger, which may be the user's too: only its trace level is switched off.
var server = sync.OnceValue(func() *toxiproxy.ApiServer {
	if zerolog.GlobalLevel() < zerolog.DebugLevel {
		zerolog.SetGlobalLevel(zerolog.DebugLevel)
	}
	return toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
})

// newPipeline starts the toxics, which were validated before.
func newPipeline(f *flow, toxics []toxic) *pipeline {
	reader, writer := io.Pipe()
	proxy := toxiproxy.NewProxy(server(), f.conn.link.config.Name, "", "")
	p := &pipeline{
		flow: f, toxics: proxy.Toxics, input: writer, limit: -1, chunk: maxChunk, ended: make(chan struct{}),
	}
	p.changed = sync.NewCond(&p.mu)
	for i, t := range toxics {
		p.add(i, t)
	}
	p.toxics.StartLink(server(), "link", reader, output{p}, stream.Upstream)
	return p
}

func (p *pipeline) add(i int, t toxic) {
	description, err := json.Marshal(map[string]any{
		"name": strconv.Itoa(i), "type": t.kind, "stream": "upstream", "toxicity": 1, "attributes": t.attributes,
	})
	if err == nil {
		_, err = p.toxics.AddToxicJson(strings.NewReader(string(description)))
	}
	if err != nil {
		panic("link: toxic " + t.kind + " does not fit the toxiproxy of go.mod: " + err.Error())
	}
	switch t.kind {
	case "limit_data":
		// Nothing may be left in the toxics before limit_data when it stops reading, or they block for ever.
		limit := max(t.attributes["bytes"], 1)
		if p.limit < 0 || limit < p.limit {
			p.limit = limit
		}
	case "bandwidth":
		// Small pieces, so that little is left to trickle out when the toxic is healed.
		p.chunk = min(p.chunk, max(int(t.attributes["rate"])*50, 256))
	}
}

// room is how many bytes the pipeline takes now.
func (p *pipeline) room() int {
	if p.limit < 0 {
		return p.chunk
	}
	return int(min(int64(p.chunk), p.limit-p.fed))
}

// spent says that the limit is used up.
func (p *pipeline) spent() bool { return p.limit >= 0 && p.fed >= p.limit }

// feed gives the pipeline its next bytes, and blocks until it has taken them.
func (p *pipeline) feed(s segment) {
	p.mu.Lock()
	for _, m := range s.marks {
		m.end += p.fed
		p.marks = append(p.marks, m)
	}
	p.mu.Unlock()
	p.fed += int64(len(s.data))
	_, _ = p.input.Write(s.data) // fails only after abort
}

// over says that the output has been closed.
func (p *pipeline) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *pipeline) closeInput() { _ = p.input.Close() }

func (p *pipeline) await() { <-p.ended }

// drain waits until every byte has come out, and ends the pipeline without what a toxic does at the end
// of a stream.
func (p *pipeline) drain() {
	p.mu.Lock()
	for p.passed < p.fed && !p.closed {
		p.changed.Wait()
	}
	p.mu.Unlock()
	p.abort()
	p.await()
}

// abort ends the pipeline at once and discards what is inside.
func (p *pipeline) abort() {
	p.mu.Lock()
	p.discard = true
	p.mu.Unlock()
	p.aborted.Do(func() {
		_ = p.input.Close()
		p.flow.conn.link.wait.Go(func() { p.toxics.ResetToxics(context.Background()) })
	})
}

// oldest is when the first byte still inside came.
func (p *pipeline) oldest() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.marks) == 0 {
		return time.Time{}
	}
	return p.marks[0].arrived
}

// output is the far end of a pipeline.
type output struct{ *pipeline }

// Write passes bytes to the destination; when that is gone it discards them.
func (o output) Write(b []byte) (int, error) {
	p, f := o.pipeline, o.flow
	p.mu.Lock()
	due := 0
	for due < len(p.marks) && p.marks[due].end <= p.passed+int64(len(b)) {
		due++
	}
	marks := p.marks[:due:due]
	p.marks = p.marks[due:]
	discard := p.discard
	p.mu.Unlock()
	if !discard {
		err := f.send(b, marks)
		f.waited(marks)
		if len(marks) > 0 {
			f.stats().delayed(f.index, marks[0].arrived)
		}
		f.mu.Lock()
		if err != nil && !f.dead {
			f.fail()
		}
		f.delivered(int64(len(b)), err)
		f.mu.Unlock()
		discard = err != nil
	}
	p.mu.Lock()
	p.passed += int64(len(b))
	p.discard = p.discard || discard
	p.changed.Broadcast()
	p.mu.Unlock()
	return len(b), nil
}

// Close tells the forwarder that nothing more comes out.
func (o output) Close() error {
	o.mu.Lock()
	o.closed = true
	o.changed.Broadcast()
	o.mu.Unlock()
	close(o.ended)
	o.flow.wake()
	return nil
}
