package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

const (
	channel = "outbox"
	// fallbackPolls is how many polls of the other relays make one of this one.
	fallbackPolls = 10
	// listenAgain is how long to wait before the listening connection is opened again: not at once, where all clients of a
	// server lost theirs.
	listenAgain = 250 * time.Millisecond
)

// notify publishes outbox rows as polling does, woken by a notification that comes with the commit, from whichever replica.
// Notifications reach those who listen at that moment, and so it looks by itself now and then, and whenever it begins to
// listen. It needs a session of its own: a pooler that gives out connections for a transaction would lose them.
type notify struct {
	*relay
	notified chan int64
}

func openNotify(ctx context.Context, publisher *Publisher) (*notify, error) {
	r, err := openRelay(ctx, publisher)
	if err != nil {
		return nil, err
	}
	r.poll *= fallbackPolls
	return &notify{relay: r, notified: make(chan int64, pageSize)}, nil
}

// add inserts the message into the outbox, and notifies of it when the transaction commits.
func (n *notify) add(_ *db.Tx, batch *pgx.Batch, eventID string, m broker.Message) {
	insert(batch, eventID, m)
	batch.Queue(`select pg_notify($1, currval(pg_get_serial_sequence('outbox', 'id'))::text)`, channel)
}

func (n *notify) run(ctx context.Context) {
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		n.listen(ctx)
	}()
	if n.publisher.Guards.Lacks(services.NotifyFallback) {
		n.obey(ctx)
	} else {
		waking := make(chan struct{})
		go func() {
			defer close(waking)
			n.wakeUp(ctx)
		}()
		n.loop(ctx, n.pass)
		<-waking
	}
	<-listening
}

// wakeUp wakes the relay at each notification.
func (n *notify) wakeUp(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.notified:
			n.publisher.wakeRelay()
		}
	}
}

// obey publishes the rows of which it was notified, and no others.
func (n *notify) obey(ctx context.Context) {
	due := map[int64]bool{}
	retry := time.NewTicker(backoffMax)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-n.notified:
			due[id] = true
		case <-retry.C:
		}
		if len(due) == 0 {
			continue
		}
		if err := n.these(ctx, slices.Sorted(maps.Keys(due))); err != nil {
			n.log().Warn("relay outbox", "error", err)
			continue
		}
		clear(due)
	}
}

// these publishes the rows with these ids that are not published yet.
func (n *notify) these(ctx context.Context, ids []int64) error {
	err := n.db.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		var held bool
		var rows []row
		batch := tx.Batch()
		lock(batch, &held)
		batch.Queue(selectRows+`where published_at is null and id = any($1) order by id`, ids).Query(collect(&rows))
		if err := tx.Send(ctx, batch); err != nil {
			return fmt.Errorf("read outbox: %w", err)
		}
		if !held {
			return errors.New("another relay holds the outbox")
		}
		if len(rows) == 0 {
			return errIdle
		}
		failed := map[target]error{}
		published, err := n.produce(ctx, tx, rows, failed)
		if err := errors.Join(append(slices.Collect(maps.Values(failed)), err)...); err != nil {
			return err
		}
		return mark(ctx, tx, published)
	})
	if errors.Is(err, errIdle) {
		return nil
	}
	return err
}

// listen hands over notifications until ctx is done, on one connection after the other.
func (n *notify) listen(ctx context.Context) {
	for {
		if err := n.hear(ctx); ctx.Err() == nil {
			n.log().Warn("listen to the outbox", "error", err)
		}
		timer := time.NewTimer(listenAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// hear listens on one connection until it breaks.
func (n *notify) hear(ctx context.Context) error {
	connection, err := db.Connect(ctx, n.publisher.DatabaseURL, n.publisher.Instance+" listener")
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), backoffMax)
		defer cancel()
		_ = connection.Close(closing) // the server notices by itself
	}()
	if _, err := connection.Exec(ctx, "listen "+channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	n.publisher.wakeRelay() // for what came while nobody listened
	for {
		notification, err := connection.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("await notification: %w", err)
		}
		id, err := strconv.ParseInt(notification.Payload, 10, 64)
		if err != nil {
			return fmt.Errorf("read notification: %w", err)
		}
		select {
		case n.notified <- id:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
