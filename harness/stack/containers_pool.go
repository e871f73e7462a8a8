package stack

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// clusterPool keeps used clusters warm: it resets what an environment gives back, and lends it again. It
// is safe for concurrent use.
type clusterPool struct {
	make func(ctx context.Context, brokers int) (*cluster, error)
	log  func(string)

	ctx    context.Context // of the work in the background
	cancel context.CancelFunc
	work   sync.WaitGroup // added to under mu, before closed

	mu     sync.Mutex
	free   []*returned
	closed bool
}

// returned is a cluster that was given back.
type returned struct {
	*cluster
	done chan struct{} // closed when it was reset
	err  error         // why it cannot be lent; valid once done is closed
}

func newClusterPool(log func(string), make_ func(context.Context, int) (*cluster, error)) *clusterPool {
	p := &clusterPool{make: make_, log: log}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// take returns a cluster of so many brokers that is the caller's own: a warm one if there is one that is
// free or is just being reset, else a new one, not started.
func (p *clusterPool) take(ctx context.Context, brokers int) (*cluster, error) {
	for {
		r := p.pick(brokers)
		if r == nil {
			return p.make(ctx, brokers)
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			p.mu.Lock()
			p.free = append(p.free, r)
			p.mu.Unlock()
			return nil, fmt.Errorf("await reset of brokers: %w", context.Cause(ctx))
		}
		if r.err == nil {
			r.err = r.fit()
		}
		if r.err == nil {
			return r.cluster, nil
		}
		p.log(fmt.Sprintf("a Kafka cluster is not used again: %v", r.err))
		p.discard(r.cluster)
	}
}

// pick takes one from the free clusters, rather one that is ready; nil when there is none.
func (p *clusterPool) pick(brokers int) *returned {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := -1
	for i, r := range p.free {
		if len(r.brokers) != brokers {
			continue
		}
		if at < 0 {
			at = i
		}
		select {
		case <-r.done:
			at = i
		default:
		}
	}
	if at < 0 {
		return nil
	}
	r := p.free[at]
	p.free = slices.Delete(p.free, at, at+1)
	return r
}

// give takes a cluster back and resets it in the background.
func (p *clusterPool) give(c *cluster) {
	r := &returned{cluster: c, done: make(chan struct{})}
	p.mu.Lock()
	p.free = append(p.free, r)
	p.mu.Unlock()
	p.background(func(ctx context.Context) {
		defer close(r.done)
		r.err = c.reset(ctx)
	})
}

// discard removes a cluster in the background.
func (p *clusterPool) discard(c *cluster) {
	p.background(func(context.Context) { p.remove(c) })
}

// background does work that close waits for, or at once when the pool is closed.
func (p *clusterPool) background(work func(context.Context)) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.work.Go(func() { work(p.ctx) })
	}
	p.mu.Unlock()
	if closed {
		work(p.ctx)
	}
}

func (p *clusterPool) remove(c *cluster) {
	// Bounded, and not ended by anybody's cancellation.
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := c.remove(ctx); err != nil {
		p.log(fmt.Sprintf("could not remove a Kafka cluster: %v", err)) // goes with the session
	}
}

// close removes all clusters that nobody has, and returns when the work in the background has ended.
func (p *clusterPool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.work.Wait()
	p.mu.Lock()
	free := p.free
	p.free = nil
	p.mu.Unlock()
	var removing sync.WaitGroup
	for _, r := range free {
		removing.Go(func() { p.remove(r.cluster) })
	}
	removing.Wait()
}
