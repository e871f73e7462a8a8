package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

type lateEnd struct{ onLinks }

// LateEnd delays the end of a Kafka transaction (an EndTxn request) until the same producer's next transaction has
// appended a record: its connection is reset, so that the client ends the transaction over another one, and the first
// request reaches the broker when the client has moved on (KAFKA-17754). The acknowledgement of that record is held
// until heal, and so is whatever the producer does after it.
func LateEnd(pattern string) harness.Fault { return lateEnd{onLinks{pattern}} }

func (lateEnd) Name() string { return "late-end" }

func (f lateEnd) Prepare(env *harness.Env) harness.Injection {
	return &delaying{links: env.Links(f.pattern)}
}

type delaying struct {
	links []*link.Link
	end   *link.Hold // of the EndTxn
	next  *link.Hold // of the next transaction's acknowledgement
	id    string     // transactional id
}

// lateEndTimeout bounds the wait for a transaction to end, and for the next one.
const lateEndTimeout = 5 * time.Second

func (e *delaying) Inject(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lateEndTimeout)
	defer cancel()
	end, message, err := catchOn(ctx, e.links, link.Match{Direction: history.Request, Kind: "EndTxn"})
	if err != nil {
		return fmt.Errorf("await the end of a Kafka transaction: %w", err)
	}
	e.end = end
	if len(message.Tokens) == 0 {
		return errors.New("the end of a Kafka transaction names no transactional id")
	}
	e.id = message.Tokens[0]
	end.Reset()
	if e.next, _, err = catchOn(ctx, e.links, link.Match{Direction: history.Response, Kind: "Produce", Tokens: []string{e.id}}); err != nil {
		return fmt.Errorf("await the next transaction of %s: %w", e.id, err)
	}
	end.Forward()
	return harness.Await(ctx, "delivery of the late EndTxn", func(context.Context) (bool, string, error) {
		outcome := end.Outcome()
		return outcome != "", outcome, nil
	})
}

func (e *delaying) Heal(context.Context) error {
	for _, hold := range []*link.Hold{e.end, e.next} {
		if hold != nil {
			hold.Cancel()
		}
	}
	return nil
}

func (e *delaying) Evidence() harness.Evidence {
	if e.end == nil || e.next == nil {
		return harness.Evidence{Effect: "no Kafka transaction was seen to end, with another one after it"}
	}
	outcome := e.end.Outcome()
	return harness.Evidence{
		Bit:    outcome == "forwarded",
		Effect: fmt.Sprintf("the EndTxn of %s was %s when its next transaction had been appended to", e.id, outcome),
	}
}

// catchOn holds the first message that matches on any of the links.
func catchOn(ctx context.Context, links []*link.Link, match link.Match) (*link.Hold, wire.Message, error) {
	type caught struct {
		hold    *link.Hold
		message wire.Message
	}
	found := make(chan caught, len(links))
	var holds []*link.Hold
	var waiting sync.WaitGroup
	for _, on := range links {
		hold := on.Hold(match)
		holds = append(holds, hold)
		waiting.Go(func() { // ends with the hold: every one is cancelled below, but for the winner
			if message, ok := <-hold.Caught(); ok {
				found <- caught{hold, message}
			}
		})
	}
	var won caught
	select {
	case won = <-found:
	case <-ctx.Done():
	}
	for _, hold := range slices.DeleteFunc(holds, func(h *link.Hold) bool { return h == won.hold }) {
		hold.Cancel()
	}
	waiting.Wait()
	if won.hold == nil {
		return nil, wire.Message{}, ctx.Err()
	}
	return won.hold, won.message, nil
}
