package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// call is one HTTP request and the operation that it is recorded as.
type call struct {
	op     history.Op
	method string
	path   string
	body   any // nil for none
}

// newHTTP returns a client that sends what it is told to, once: no redirects, no compression, no proxy.
func newHTTP(config ClientConfig) *http.Client {
	dial := dialer(config.Dial)
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				// The transport lets a dial go on after the attempt that it was for has ended.
				ctx, cancel := context.WithTimeout(ctx, config.Timeout)
				defer cancel()
				conn, err := dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return &sealableConn{Conn: conn}, nil
			},
			MaxIdleConnsPerHost: 256,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true,
			DisableKeepAlives:   config.NoKeepAlive,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// send makes one attempt. The error is nil for an answer of success that arrived whole, wraps
// ErrNotApplied where the attempt provably had no effect, and else says nothing about its effect. The
// status is 0 unless the answer arrived whole.
func (c *Client) send(ctx context.Context, call call) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	var conn *sealableConn // the connection that the request was given, nil as long as it was given none
	var before int         // writes begun on it earlier
	request, err := c.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			conn = info.Conn.(*sealableConn)
			before = conn.begun()
		},
	}), call)
	if err != nil {
		// There is no request to be sent.
		return 0, nil, fmt.Errorf("%w: %w", ErrNotApplied, err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if conn == nil {
			// Bytes of a request leave only through the connection that the transport gives it, and it gave
			// none: it was refused, or not set up in time.
			return 0, nil, fmt.Errorf("%w: %w", ErrNotApplied, err)
		}
		if conn.seal() == before {
			// The connection is sealed, so that nothing can be written to it any more, and no write was begun
			// since this request was given it: it had been closed while it was idle.
			return 0, nil, fmt.Errorf("%w: nothing was sent: %w", ErrNotApplied, err)
		}
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer of status %d: %w", response.StatusCode, err)
	}
	return response.StatusCode, body, verdict(response.StatusCode, body)
}

// verdict says what a whole answer proves about the attempt that it answers, and about no other.
func verdict(status int, body []byte) error {
	refusal := func() error {
		return fmt.Errorf("answer %d %s: %s", status, http.StatusText(status), bytes.TrimSpace(body[:min(len(body), 200)]))
	}
	switch status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity:
		// The API defines these five as refusals: the service read this request whole and decided against
		// it. That it had an effect all the same would be the violation that definite failures are checked
		// for. An earlier attempt with the same key may still have had one.
		return fmt.Errorf("%w: %w", ErrNotApplied, refusal())
	}
	if status >= 200 && status < 300 {
		return nil
	}
	return refusal() // a server error, or an answer that the API does not define
}

func (c *Client) request(ctx context.Context, call call) (*http.Request, error) {
	var content []byte
	if call.body != nil {
		var err error
		if content, err = json.Marshal(call.body); err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, call.method, strings.TrimSuffix(c.config.URL, "/")+call.path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	// net/http sends a request a second time on its own, when a reused connection breaks, if it is a GET or
	// carries an Idempotency-Key: the answer would then be of an attempt that was never recorded. A body
	// that cannot be had again forbids it. The transport probes the empty one of a GET and sends none; another
	// request with a key is given one that is not empty.
	if call.op.Key != "" && len(content) == 0 {
		content = []byte("{}")
	}
	if len(content) > 0 || call.method == http.MethodGet {
		request.Body = io.NopCloser(onlyReader{bytes.NewReader(content)})
		request.ContentLength = int64(len(content))
	}
	if call.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if call.op.Key != "" {
		request.Header.Set("Idempotency-Key", call.op.Key)
	}
	return request, nil
}

type onlyReader struct{ io.Reader }

// sealableConn counts the writes that were begun, and can forbid all later ones.
type sealableConn struct {
	net.Conn

	mu     sync.Mutex
	writes int
	sealed bool
}

// Write implements [net.Conn].
func (c *sealableConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.sealed {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// begun is the number of writes begun so far.
func (c *sealableConn) begun() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// seal forbids every later write. It returns how many were begun before.
func (c *sealableConn) seal() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed = true
	return c.writes
}
