package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

const maxBody = 64 << 10

// serve answers HTTP requests until ctx is done. It returns nil after a stop that was asked for.
func serve(ctx context.Context, address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on HTTP_ADDR: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if server.Shutdown(closing) != nil {
			_ = server.Close() // cuts what did not end in time
		}
	})
	err = server.Serve(listener)
	if !stop() { // the stop has begun: Serve returns before it ends
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve http: %w", err)
}

// Problem is an error with an HTTP status. A status of 4xx promises that the request had no effect.
type Problem struct {
	Status  int
	Message string
}

// Error returns the message.
func (p *Problem) Error() string { return p.Message }

// Refuse returns a Problem.
func Refuse(status int, format string, args ...any) *Problem {
	return &Problem{Status: status, Message: fmt.Sprintf(format, args...)}
}

// ReadJSON decodes the body of a request into v. The error is a Problem.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v); err != nil {
		return Refuse(http.StatusBadRequest, "decode body: %v", err)
	}
	return nil
}

// WriteJSON answers with a status and v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

// WriteError answers with the status of a Problem. Every other error is 503: its effect may be unknown, and a
// client that has an idempotency key can try again.
func (c Core) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	var problem *Problem
	if !errors.As(err, &problem) {
		c.Log.Warn("answer 503", "method", r.Method, "path", r.URL.Path,
			"unknown", errors.Is(err, db.ErrOutcomeUnknown), "error", err)
		problem = Refuse(http.StatusServiceUnavailable, "%v", err)
	}
	WriteJSON(w, problem.Status, map[string]string{"error": problem.Message})
}

// Transact runs work in a transaction for a client, and once more when the connection turned out to be dead before
// COMMIT was sent: after a database restart the pool is full of those. A client that goes away does not abort it.
func (c Core) Transact(ctx context.Context, work func(context.Context, *db.Tx) error) error {
	ctx = context.WithoutCancel(ctx)
	for attempt := 1; ; attempt++ {
		err := c.DB.Transact(ctx, work)
		var problem *Problem
		if err == nil || attempt == 2 || errors.As(err, &problem) ||
			errors.Is(err, db.ErrOutcomeUnknown) || db.Classify(err) != db.Unavailable {
			return err
		}
	}
}
