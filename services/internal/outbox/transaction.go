package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

const (
	// transactionIDs is how many transactions of one process can be under way: each needs an id of its own.
	transactionIDs = 4
	// transactionSend is how long producing may take. The database transaction holds its locks as long.
	transactionSend = 800 * time.Millisecond
	fenceTimeout    = 2 * time.Second
	fenceBackoff    = 50 * time.Millisecond
)

// kafkaTransaction produces the messages of a database transaction in a Kafka transaction: begin, produce, COMMIT, and
// then the Kafka transaction commits. When the database rolled back, or did not say, it aborts. The offsets of consumed
// records stay outside: the inbox makes a record that is delivered again harmless.
//
// Nothing makes the two commits one. A process that dies between them leaves a change that nobody is told of.
type kafkaTransaction struct {
	publisher *Publisher
	idle      chan transactionalID // never full
	reopen    func(id string)
	stop      context.CancelFunc // of reopen
	opening   sync.WaitGroup

	mu   sync.Mutex
	open map[*db.Tx]*exchange
}

// transactionalID is a producer that has no transaction.
type transactionalID struct {
	id       string
	producer *broker.Transactional
	used     bool // it had a transaction before
}

// exchange is what one database transaction announces.
type exchange struct {
	messages []broker.Message
	by       transactionalID // once it has begun
	err      error           // of producing
}

func openKafkaTransaction(p *Publisher) *kafkaTransaction {
	ctx, stop := context.WithCancel(context.Background())
	w := &kafkaTransaction{
		publisher: p, idle: make(chan transactionalID, transactionIDs), stop: stop, open: map[*db.Tx]*exchange{},
	}
	w.reopen = w.reopener(ctx)
	return w
}

// run fences what an earlier process of this instance left open.
func (w *kafkaTransaction) run(ctx context.Context) {
	for n := range transactionIDs {
		w.reopen(fmt.Sprintf("%s-tx-%d", w.publisher.Instance, n))
	}
	<-ctx.Done()
}

// reopener returns a function that opens the producer of an id, until it succeeds or ctx is done, and then lets
// transactions have it.
func (w *kafkaTransaction) reopener(ctx context.Context) func(id string) {
	return func(id string) {
		w.opening.Go(func() {
			for ctx.Err() == nil {
				bounded, cancel := context.WithTimeout(ctx, fenceTimeout)
				producer, err := broker.OpenTransactional(bounded, broker.TransactionalConfig{
					Brokers: w.publisher.Brokers, ClientID: w.publisher.Instance, ID: id,
					OneEpoch: w.publisher.Guards.Removed(services.TransactionEpoch),
				})
				cancel()
				if err == nil {
					w.idle <- transactionalID{id: id, producer: producer}
					return
				}
				w.publisher.Log.Warn("open transactional producer", "id", id, "error", err)
				select {
				case <-ctx.Done():
				case <-time.After(fenceBackoff):
				}
			}
		})
	}
}

// add makes a message part of the Kafka transaction that goes with tx.
func (w *kafkaTransaction) add(tx *db.Tx, _ *pgx.Batch, _ string, m broker.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.open[tx]
	if e == nil {
		e = &exchange{}
		w.open[tx] = e
		tx.BeforeCommit(func(ctx context.Context) error { return w.produce(ctx, e) })
		tx.OnEnd(func(_ context.Context, err error) {
			w.mu.Lock()
			delete(w.open, tx)
			w.mu.Unlock()
			w.end(e, err)
		})
	}
	e.messages = append(e.messages, m)
}

func (w *kafkaTransaction) produce(ctx context.Context, e *exchange) error {
	select {
	case e.by = <-w.idle:
	case <-ctx.Done():
		return fmt.Errorf("await a transactional producer: %w", ctx.Err())
	}
	if e.by.used {
		w.publisher.Guards.Lacks(services.TransactionEpoch)
	}
	e.by.used = true
	ctx, cancel := context.WithTimeout(ctx, transactionSend)
	defer cancel()
	e.err = e.by.producer.Produce(ctx, e.messages)
	return e.err
}

// end ends the Kafka transaction as the database transaction ended. What of the database is unknown is taken for rolled
// back: the announcement of what never happened does more harm than none of what did.
func (w *kafkaTransaction) end(e *exchange, failed error) {
	if e.by.producer == nil {
		return // it never began
	}
	var err error
	switch {
	case failed == nil:
		err = e.by.producer.Commit()
	case errors.Is(e.err, context.DeadlineExceeded), errors.Is(e.err, context.Canceled):
		err = e.err // something is on its way yet, which only a fence stops
	default:
		err = e.by.producer.Abort()
	}
	if err == nil {
		w.idle <- e.by
		return
	}
	w.publisher.Log.Error("end Kafka transaction", "id", e.by.id, "committed", failed == nil, "error", err)
	e.by.producer.Close()
	w.reopen(e.by.id)
}

// close waits for transactions to end, and gives their ids up.
func (w *kafkaTransaction) close(ctx context.Context) {
	w.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.opening.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	for {
		select {
		case id := <-w.idle:
			id.producer.Close()
		default:
			return
		}
	}
}
