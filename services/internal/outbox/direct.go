package outbox

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

// inTransaction produces before COMMIT is sent. A failure rolls back; a rollback for another reason leaves the event.
type inTransaction struct{ publisher *Publisher }

func (inTransaction) run(context.Context)   {}
func (inTransaction) close(context.Context) {}

func (w inTransaction) add(tx *db.Tx, _ *pgx.Batch, _ string, m broker.Message) {
	tx.BeforeCommit(func(ctx context.Context) error {
		return w.publisher.Producer.ProduceOne(ctx, m)
	})
}

// afterCommit produces once COMMIT was answered, and only logs a failure.
type afterCommit struct{ publisher *Publisher }

func (afterCommit) run(context.Context)   {}
func (afterCommit) close(context.Context) {}

func (w afterCommit) add(tx *db.Tx, _ *pgx.Batch, eventID string, m broker.Message) {
	tx.AfterCommit(func(ctx context.Context) {
		if err := w.publisher.Producer.ProduceOne(ctx, m); err != nil {
			w.publisher.Log.Error("publish after commit", "event", eventID, "error", err)
		}
	})
}
