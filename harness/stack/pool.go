package stack

import "context"

// pool makes copies of a prepared data directory ahead of need.
type pool struct {
	make   func(context.Context) (dir string, err error)
	ready  chan string
	cancel context.CancelFunc
	done   chan struct{}
}

// newPool starts making copies; ahead of them, at least 1, wait to be taken.
func newPool(ahead int, make_ func(context.Context) (string, error)) *pool {
	ctx, cancel := context.WithCancel(context.Background())
	p := &pool{make: make_, ready: make(chan string, max(ahead, 1)-1), cancel: cancel, done: make(chan struct{})}
	go p.fill(ctx)
	return p
}

func (p *pool) fill(ctx context.Context) {
	defer close(p.done)
	for {
		dir, err := p.make(ctx)
		if err != nil {
			return // take makes its own copy then, and reports its own error
		}
		select {
		case p.ready <- dir:
		case <-ctx.Done():
			return // the copy lies in the backend's folder, which goes as a whole
		}
	}
}

// take returns a copy that is the caller's own, at once when one is ready.
func (p *pool) take(ctx context.Context) (string, error) {
	select {
	case dir := <-p.ready:
		return dir, nil
	default:
		return p.make(ctx)
	}
}

// close stops making copies and returns when none is being made.
func (p *pool) close() {
	p.cancel()
	<-p.done
}
