package observe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// server answers requests by a script: the n-th request that arrives whole is given to the n-th step, the
// last step serves all later ones. A step writes bytes, and says whether to keep the connection.
type server struct {
	listener net.Listener
	requests atomic.Int64 // that arrived whole
	arrived  []*http.Request
	bodies   []string
}

type step func(conn *net.TCPConn) (keep bool)

func serve(t testing.TB, steps ...step) *server {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &server{listener: listener}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.connection(conn.(*net.TCPConn), steps)
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return s
}

// connection serves one connection at a time, so that the script is in order.
func (s *server) connection(conn *net.TCPConn, steps []step) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		s.arrived, s.bodies = append(s.arrived, request), append(s.bodies, string(body))
		n := int(s.requests.Add(1))
		if !steps[min(n, len(steps))-1](conn) {
			return
		}
	}
}

func answer(status int, body string) step {
	return func(conn *net.TCPConn) bool {
		_, err := fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), len(body), body)
		return err == nil
	}
}

func reset(conn *net.TCPConn) bool {
	_ = conn.SetLinger(0) // RST
	return false
}

func hangUp(*net.TCPConn) bool { return false }

func (s *server) client(t testing.TB, j *journal) *Client {
	return s.clientWith(t, ClientConfig{Recorder: j.Recorder, Timeout: patience})
}

func (s *server) clientWith(t testing.TB, config ClientConfig) *Client {
	config.Name, config.Link, config.URL = "alice", "client->order", "http://"+s.listener.Addr().String()
	config.RetryEvery = 5 * time.Millisecond
	c := NewClient(config)
	t.Cleanup(c.Close)
	return c
}

func (j *journal) ops(t testing.TB) []history.Op {
	var ops []history.Op
	for _, e := range j.events(t) {
		ops = append(ops, *e.Op)
	}
	return ops
}

var lines = []history.Line{{SKU: "sku-1", Qty: 2}}

func TestClientRecordsAttempts(t *testing.T) {
	j := newJournal(t)
	s := serve(t, answer(201, `{"orderId":"o-1","status":"PENDING"}`))
	c := s.client(t, j)
	got := c.Place(t.Context(), PlaceRequest{Key: "key-1", Lines: lines, Amount: 7})
	require.NoError(t, got.Err)
	assert.Equal(t, "o-1", got.Order)
	invoke := history.Op{ID: 1, Type: history.Invoke, Client: "alice", Action: history.Place, Link: "client->order", Key: "key-1", Attempt: 1, Lines: lines}
	done := invoke
	done.Type, done.Order, done.Status, done.State = history.OK, "o-1", 201, "PENDING"
	assert.Equal(t, []history.Op{invoke, done}, j.ops(t))
	assert.Equal(t, "key-1", s.arrived[0].Header.Get("Idempotency-Key"))
	assert.Equal(t, "application/json", s.arrived[0].Header.Get("Content-Type"))
	assert.JSONEq(t, `{"productId":"sku-1","qty":2,"paymentAmt":7}`, s.bodies[0])
}

func TestClientPlacesSeveralLines(t *testing.T) {
	s := serve(t, answer(201, `{}`))
	two := []history.Line{{SKU: "sku-1", Qty: 2}, {SKU: "sku-2", Qty: 1}}
	require.NoError(t, s.client(t, newJournal(t)).Place(t.Context(), PlaceRequest{Order: "o-1", Lines: two, Amount: 7}).Err)
	assert.JSONEq(t, `{"orderId":"o-1","lines":[{"productId":"sku-1","qty":2},{"productId":"sku-2","qty":1}],"paymentAmt":7}`, s.bodies[0])
}

func TestClientCallsTheWholeAPI(t *testing.T) {
	j := newJournal(t)
	s := serve(t, answer(200, `{"reservationId":"r-1","orderId":"o-1","status":"CONFIRMED"}`))
	c := s.client(t, j)
	ctx := t.Context()
	calls := []struct {
		want   string
		action string
		answer Answer
	}{
		{"POST /api/v1/orders", history.Place, c.Place(ctx, PlaceRequest{Order: "o-1", Lines: lines})},
		{"DELETE /api/v1/orders/o%2F1", history.Cancel, c.CancelOrder(ctx, "o/1")},
		{"GET /api/v1/orders/o-1", history.ReadOrder, c.ReadOrder(ctx, "o-1")},
		{"GET /api/v1/stocks/sku-1", history.ReadStock, c.ReadStock(ctx, "sku-1")},
		{"POST /api/v1/stocks", history.Reserve, c.Reserve(ctx, ReserveRequest{Lines: lines})},
		{"PUT /api/v1/stocks/r-1", history.ConfirmStock, c.ConfirmReservation(ctx, "r-1")},
		{"DELETE /api/v1/stocks/r-1", history.ReleaseStock, c.As("bob").ReleaseReservation(ctx, "r-1")},
	}
	ops := j.ops(t)
	require.Len(t, ops, 2*len(calls))
	for i, call := range calls {
		require.NoError(t, call.answer.Err, call.want)
		assert.Equal(t, call.want, s.arrived[i].Method+" "+s.arrived[i].URL.EscapedPath())
		assert.Empty(t, s.arrived[i].TransferEncoding, call.want)
		assert.Equal(t, call.action, ops[2*i].Action)
		assert.Equal(t, history.Invoke, ops[2*i].Type)
		assert.Equal(t, history.OK, ops[2*i+1].Type)
		assert.Equal(t, ops[2*i].ID, ops[2*i+1].ID)
		assert.Equal(t, "CONFIRMED", ops[2*i+1].State)
	}
	assert.Equal(t, "bob", ops[len(ops)-1].Client)
	assert.JSONEq(t, `{"lines":[{"productId":"sku-1","qty":2}]}`, s.bodies[4])
	assert.Empty(t, s.bodies[1])
}

func TestClientConfirmsUntilItIsAnswered(t *testing.T) {
	s := serve(t, hangUp, answer(503, ``), answer(200, `{"reservationId":"r-1","status":"CONFIRMED"}`))
	j := newJournal(t)
	require.NoError(t, s.client(t, j).ConfirmUntil(t.Context(), "r-1", "key-1").Err)
	ops := j.ops(t)
	require.Len(t, ops, 6, "each attempt is an operation, and no other was sent")
	assert.Equal(t, 3, ops[5].Attempt)
	assert.Equal(t, history.OK, ops[5].Type)
	for _, request := range s.arrived {
		assert.Equal(t, "PUT", request.Method)
		assert.Equal(t, "key-1", request.Header.Get("Idempotency-Key"))
	}
}

func TestClientOutcomes(t *testing.T) {
	const noAnswer = "no answer"
	cases := map[string]struct {
		step    step
		outcome string
		status  int
	}{
		"created":         {answer(201, `{}`), history.OK, 201},
		"found":           {answer(200, `{}`), history.OK, 200},
		"bad request":     {answer(400, `no lines`), history.Fail, 400},
		"not found":       {answer(404, ``), history.Fail, 404},
		"conflict":        {answer(409, `{"orderId":"o-1","status":"CONFIRMED"}`), history.Fail, 409},
		"unprocessable":   {answer(422, `key reused`), history.Fail, 422},
		"too many":        {answer(429, ``), history.Info, 429},
		"request timeout": {answer(408, ``), history.Info, 408},
		"server error":    {answer(500, `{"orderId":"o-1"}`), history.Info, 500},
		"unavailable":     {answer(503, ``), history.Info, 503},
		"redirect":        {answer(302, ``), history.Info, 302},
		"reset":           {reset, history.Info, 0},
		"closed":          {hangUp, history.Info, 0},
		"cut answer": {func(c *net.TCPConn) bool {
			_, _ = io.WriteString(c, "HTTP/1.1 201 Created\r\nContent-Length: 50\r\n\r\n{}")
			return false
		}, history.Info, 0},
		"cut header": {func(c *net.TCPConn) bool { _, _ = io.WriteString(c, "HTTP/1.1 20"); return false }, history.Info, 0},
		"cut after refusal": {func(c *net.TCPConn) bool {
			_, _ = io.WriteString(c, "HTTP/1.1 409 Conflict\r\nContent-Length: 50\r\n\r\n{}")
			return false
		}, history.Info, 0},
		noAnswer: {func(c *net.TCPConn) bool { _, _ = c.Read(make([]byte, 1)); return false }, history.Info, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			j := newJournal(t)
			s := serve(t, c.step)
			config := ClientConfig{Recorder: j.Recorder, Timeout: patience}
			if name == noAnswer { // it is waited for, and must be enough to connect and to send
				config.Timeout = 2 * time.Second
			}
			got := s.clientWith(t, config).Place(t.Context(), PlaceRequest{Key: "k", Order: "o-1", Lines: lines})
			assert.Equal(t, c.outcome, got.Outcome, "%v", got.Err)
			assert.Equal(t, c.status, got.Status)
			assert.Equal(t, c.outcome == history.OK, got.Err == nil)
			if c.outcome == history.Fail {
				assert.ErrorIs(t, got.Err, ErrNotApplied)
			} else {
				assert.NotErrorIs(t, got.Err, ErrNotApplied)
			}
			assert.EqualValues(t, 1, s.requests.Load())
			ops := j.ops(t)
			require.Len(t, ops, 2)
			assert.Equal(t, c.outcome, ops[1].Type)
			assert.Equal(t, c.status, ops[1].Status)
			assert.Equal(t, got.Err != nil, ops[1].Error != "")
		})
	}
}

func TestClientThatCannotConnectHadNoEffect(t *testing.T) {
	j := newJournal(t)
	s := serve(t, hangUp)
	require.NoError(t, s.listener.Close())
	got := s.client(t, j).Place(t.Context(), PlaceRequest{Key: "k"})
	assert.Equal(t, history.Fail, got.Outcome)
	assert.ErrorIs(t, got.Err, ErrNotApplied)
	assert.False(t, got.Settled(), "a retry makes sense")

	c := NewClient(ClientConfig{Recorder: j.Recorder, URL: "http://127.0.0.1:1", Timeout: 20 * time.Millisecond, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done() // a dial that is still under way when the attempt ends
		return nil, ctx.Err()
	}})
	got = c.Place(t.Context(), PlaceRequest{Key: "k"})
	assert.Equal(t, history.Fail, got.Outcome, "%v", got.Err)
}

// A keep-alive connection that breaks while the second request is on it. net/http would send the request
// again by itself, for a GET and for everything with an Idempotency-Key, and the operation would be two.
func TestClientSendsNothingTwice(t *testing.T) {
	for name, breaking := range map[string]step{"closed": hangUp, "reset": reset} {
		for action, call := range map[string]func(*Client) Answer{
			"place": func(c *Client) Answer { return c.Place(context.Background(), PlaceRequest{Key: "k", Lines: lines}) },
			"read":  func(c *Client) Answer { return c.ReadOrder(context.Background(), "o-1") },
		} {
			t.Run(action+" "+name, func(t *testing.T) {
				j := newJournal(t)
				s := serve(t, answer(200, `{}`), breaking, answer(200, `{}`))
				c := s.client(t, j)
				require.NoError(t, c.ReadStock(t.Context(), "sku-1").Err)
				got := call(c)
				assert.Equal(t, history.Info, got.Outcome, "%v", got.Err)
				assert.EqualValues(t, 2, s.requests.Load(), "sent once")
			})
		}
	}
}

// A keep-alive connection that breaks after the second request was given it and before anything of it was
// written.
func TestClientOnADeadIdleConnection(t *testing.T) {
	j := newJournal(t)
	release := make(chan struct{})
	s := serve(t, func(c *net.TCPConn) bool { answer(200, `{}`)(c); <-release; return false }, answer(200, `{}`))
	ended := make(chan struct{})
	c := s.clientWith(t, ClientConfig{Recorder: j.Recorder, Timeout: patience, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &watchedConn{Conn: conn, ended: ended}, err
	}})
	require.NoError(t, c.ReadStock(t.Context(), "sku-1").Err)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		require.True(t, info.Reused)
		close(release)
		<-ended
		time.Sleep(100 * time.Millisecond) // the transport, which was told of the end, acts on it
	}})
	got := c.Place(ctx, PlaceRequest{Key: "k"})
	assert.Equal(t, history.Fail, got.Outcome, "%v", got.Err)
	assert.ErrorIs(t, got.Err, ErrNotApplied)
	assert.EqualValues(t, 1, s.requests.Load())
}

// watchedConn tells when its reader learnt that the connection ended.
type watchedConn struct {
	net.Conn
	ended chan struct{}
	once  sync.Once
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.once.Do(func() { close(c.ended) })
	}
	return n, err
}

func TestSealedConnectionCarriesNothing(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	conn := &sealableConn{Conn: near}
	_, err := conn.Write([]byte("x"))
	require.NoError(t, err)
	assert.Equal(t, 1, conn.seal())
	_, err = conn.Write([]byte("y"))
	require.ErrorIs(t, err, net.ErrClosed)
	assert.Equal(t, 1, conn.begun(), "a refused write was not begun")
}

func TestPlaceUntilRetriesWithOneKey(t *testing.T) {
	j := newJournal(t)
	s := serve(t, reset, answer(503, ``), answer(201, `{"orderId":"o-9","status":"PENDING"}`))
	got := s.client(t, j).PlaceUntil(t.Context(), PlaceRequest{Key: "k", Order: "o-1", Lines: lines, OmitOrder: true})
	require.NoError(t, got.Err)
	assert.Equal(t, "o-9", got.Order)
	ops := j.ops(t)
	require.Len(t, ops, 6)
	var types, orders []string
	for i, op := range ops {
		types, orders = append(types, op.Type), append(orders, op.Order)
		assert.Equal(t, "k", op.Key)
		assert.Equal(t, i/2+1, op.Attempt)
		assert.EqualValues(t, i/2+1, op.ID)
	}
	assert.Equal(t, []string{"invoke", "info", "invoke", "info", "invoke", "ok"}, types)
	assert.Equal(t, []string{"o-1", "o-1", "", "", "", "o-9"}, orders)
	assert.Contains(t, s.bodies[0], `"orderId":"o-1"`)
	assert.NotContains(t, s.bodies[1], `orderId`)
}

func TestPlaceUntilEnds(t *testing.T) {
	j := newJournal(t)
	refusing := serve(t, answer(409, `{}`))
	got := refusing.client(t, j).PlaceUntil(t.Context(), PlaceRequest{Key: "k"})
	assert.Equal(t, history.Fail, got.Outcome)
	assert.EqualValues(t, 1, refusing.requests.Load(), "a refusal is an answer")

	ctx, cancel := context.WithCancel(within(t, patience))
	defer cancel()
	unavailable := answer(503, ``)
	down := serve(t, unavailable, unavailable, func(c *net.TCPConn) bool { cancel(); return unavailable(c) })
	got = down.client(t, j).PlaceUntil(ctx, PlaceRequest{Key: "k"})
	assert.Equal(t, history.Info, got.Outcome)
	assert.EqualValues(t, 3, down.requests.Load())
	assert.ErrorIs(t, ctx.Err(), context.Canceled, "it ended with its context, not at the deadline")
}
