package observe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// WALConfig says which database a [WAL] taps. The slot (plugin pgoutput) and the publication (for all
// tables) were made before the first row: what the tables held earlier is not in the log, and
// [WAL.Verify] would miss it. Tables have REPLICA IDENTITY FULL.
type WALConfig struct {
	DSN         string // of the server itself, as a role that may replicate
	Database    string // as in history.Row; the DSN's when empty
	Slot        string
	Publication string
	Recorder    *history.Recorder
	Dial        DialFunc // nil dials directly
	// OnRow is called with every row after it was recorded, in commit order. It must be quick and must
	// not call the tap. It may be nil.
	OnRow func(history.Row)
}

// WAL records every committed row change of one database, in commit order, none twice and none missed.
// It outlives crashes, restarts and pauses of the server: it reconnects until it is closed.
type WAL struct {
	config WALConfig
	server *pgconn.Config
	stop   context.CancelFunc
	done   chan struct{}

	mu         sync.Mutex
	position   pglogrepl.LSN // everything that committed before it is recorded
	tables     map[string]*fold
	commits    int64
	rows       int64
	reconnects int64
	markers    map[string]chan struct{}
	lost       error // why there is no stream at present
}

// TapWAL starts a tap where its slot stands. It fails when the slot or the publication is not there.
// The context bounds only the start.
func TapWAL(ctx context.Context, config WALConfig) (*WAL, error) {
	server, err := pgconn.ParseConfig(config.DSN)
	if err != nil {
		return nil, fmt.Errorf("tap wal of %s: %w", config.Database, err)
	}
	config.Database = cmp.Or(config.Database, server.Database)
	server.DialFunc = dialer(config.Dial)
	server.ConnectTimeout = dialTimeout
	// The tap and its verification must render every value alike, and a marker must be flushed at once.
	for name, value := range map[string]string{
		"DateStyle": "ISO", "IntervalStyle": "postgres", "TimeZone": "UTC",
		"bytea_output": "hex", "extra_float_digits": "1", "synchronous_commit": "on",
	} {
		server.RuntimeParams[name] = value
	}
	w := &WAL{
		config: config, server: server, done: make(chan struct{}),
		tables: make(map[string]*fold), markers: make(map[string]chan struct{}),
	}
	if err := w.prepared(ctx); err != nil {
		return nil, fmt.Errorf("tap wal of %s: %w", config.Database, err)
	}
	stream, err := w.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("tap wal of %s: %w", config.Database, err)
	}
	running, stop := context.WithCancel(context.Background())
	w.stop = stop
	go w.run(running, stream)
	return w, nil
}

// Close ends the tap and waits until it ended. The slot stays.
func (w *WAL) Close() error {
	w.stop()
	<-w.done
	return nil
}

// Database is the name that the tap's rows carry.
func (w *WAL) Database() string { return w.config.Database }

// LSN is the position before which every commit is recorded.
func (w *WAL) LSN() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(w.position)
}

// CatchUp commits a marker and waits until the tap has passed it: every transaction that committed
// before the call is then recorded. It fails when the server cannot be reached.
func (w *WAL) CatchUp(ctx context.Context) error {
	marker, passed := uuid.NewString(), make(chan struct{})
	w.mu.Lock()
	w.markers[marker] = passed
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.markers, marker)
		w.mu.Unlock()
	}()
	// A transactional message: its commit is flushed, and a log that is not flushed is not streamed.
	sql := fmt.Sprintf("SELECT pg_logical_emit_message(true, '%s', '%s')", markerPrefix, marker)
	if err := w.session(ctx, func(conn *pgconn.PgConn) error { return execute(ctx, conn, sql) }); err != nil {
		return fmt.Errorf("write marker to %s: %w", w.config.Database, err)
	}
	select {
	case <-passed:
		return nil
	case <-w.done:
		return fmt.Errorf("await marker in wal of %s: %w", w.config.Database, errClosed)
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		return fmt.Errorf("await marker in wal of %s: tap is at %s: %w", w.config.Database, w.position,
			errors.Join(ctx.Err(), w.lost))
	}
}

// markerPrefix tells the tap's own logical messages from those of others.
const markerPrefix = "ordeal"

// run follows the stream, and opens it again whenever it is lost.
func (w *WAL) run(ctx context.Context, stream *pgconn.PgConn) {
	defer close(w.done)
	retry := backoff{first: 5 * time.Millisecond, most: 100 * time.Millisecond}
	for {
		w.report(w.follow(ctx, stream))
		for stream = nil; stream == nil; {
			if !retry.wait(ctx) {
				return
			}
			var err error
			stream, err = w.connect(ctx)
			w.report(err)
		}
		retry.reset()
	}
}

// report keeps why there is no stream, or counts the new one.
func (w *WAL) report(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost = err; err == nil {
		w.reconnects++
	}
}

// follow records what the stream brings until it ends. It takes the connection over.
func (w *WAL) follow(ctx context.Context, stream *pgconn.PgConn) error {
	// Closing the socket is what wakes the reader. The server needs no farewell: it frees the slot when
	// the connection is gone.
	release := context.AfterFunc(ctx, func() { _ = stream.Conn().Close() })
	defer func() {
		release()
		_ = stream.Conn().Close()
	}()
	var confirmed time.Time
	decode := decoder{database: w.config.Database, relations: make(map[uint32]*relation)}
	for {
		message, err := stream.ReceiveMessage(context.Background()) // a context here would cost a goroutine a message
		if err != nil {
			return fmt.Errorf("read stream: %w", err)
		}
		var confirm bool
		switch message := message.(type) {
		case *pgproto3.CopyData:
			if confirm, err = w.take(&decode, message.Data); err != nil {
				return err
			}
		case *pgproto3.ErrorResponse:
			return fmt.Errorf("read stream: %w", pgconn.ErrorResponseToPgError(message))
		case *pgproto3.CopyDone, *pgproto3.CommandComplete:
			return errors.New("read stream: the server ended it")
		}
		if confirm || time.Since(confirmed) > confirmEvery {
			confirmed = time.Now()
			if err := w.confirm(ctx, stream); err != nil {
				return err
			}
		}
	}
}

// confirmEvery bounds how much the server streams again to a tap that lost its connection, and how
// long it keeps log that nobody needs. It is no deadline: an idle server asks by itself.
const confirmEvery = 200 * time.Millisecond

// take handles one message of the stream. It says whether the server wants the position confirmed.
func (w *WAL) take(decode *decoder, data []byte) (confirm bool, err error) {
	switch data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		alive, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return false, fmt.Errorf("decode keepalive: %w", err)
		}
		// The stream is ordered and rows are recorded as they come, so between transactions everything up
		// to the server's position is recorded. A server that shuts down waits until that is confirmed.
		if !decode.inTransaction() {
			w.mu.Lock()
			w.position = max(w.position, alive.ServerWALEnd)
			w.mu.Unlock()
		}
		return alive.ReplyRequested, nil
	case pglogrepl.XLogDataByteID:
		frame, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return false, fmt.Errorf("decode stream: %w", err)
		}
		committed, err := decode.next(frame.WALData)
		if err != nil {
			return false, fmt.Errorf("decode stream: %w", err)
		}
		if committed != nil {
			w.record(committed)
		}
	}
	return false, nil
}

// record writes one committed transaction to the history.
func (w *WAL) record(tx *transaction) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if tx.end <= w.position { // streamed again after a reconnect
		return
	}
	for _, row := range tx.rows {
		w.config.Recorder.Append(history.Event{Row: &row})
		table, ok := w.tables[row.Table]
		if !ok {
			table = newFold()
			w.tables[row.Table] = table
		}
		table.apply(row)
		if w.config.OnRow != nil {
			w.config.OnRow(row)
		}
	}
	w.position = tx.end
	w.rows += int64(len(tx.rows))
	if len(tx.rows) > 0 {
		w.commits++
	}
	for _, marker := range tx.markers {
		if passed, ok := w.markers[marker]; ok {
			close(passed)
			delete(w.markers, marker)
		}
	}
}

func (w *WAL) confirm(ctx context.Context, stream *pgconn.PgConn) error {
	at := w.LSN()
	if at == 0 {
		return nil // nothing recorded yet, and zero would mean "all"
	}
	err := pglogrepl.SendStandbyStatusUpdate(ctx, stream, pglogrepl.StandbyStatusUpdate{WALWritePosition: pglogrepl.LSN(at)})
	if err != nil {
		return fmt.Errorf("confirm position: %w", err)
	}
	return nil
}

// connect opens a stream that begins after the last recorded commit.
func (w *WAL) connect(ctx context.Context) (*pgconn.PgConn, error) {
	config := w.server.Copy()
	config.RuntimeParams["replication"] = "database"
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stream, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	err = pglogrepl.StartReplication(ctx, stream, w.config.Slot, pglogrepl.LSN(w.LSN()), pglogrepl.StartReplicationOptions{
		Mode:       pglogrepl.LogicalReplication,
		PluginArgs: []string{"proto_version '1'", fmt.Sprintf("publication_names '%s'", w.config.Publication), "messages 'true'"},
	})
	if err != nil {
		_ = stream.Conn().Close()
		return nil, fmt.Errorf("start stream: %w", err)
	}
	return stream, nil
}
