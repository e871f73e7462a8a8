package wire_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// typed is a frame with a type byte.
func typed(code byte, parts ...string) []byte {
	var body []byte
	for _, part := range parts {
		body = append(body, part...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{code}, uint32(len(body)+4)), body...)
}

func untyped(code uint32, body string) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(body)+8))
	return append(binary.BigEndian.AppendUint32(frame, code), body...)
}

// param is a Bind parameter with its length.
func param(value string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(value)))) + value
}

const (
	textFormats   = "\x00\x00"
	binaryFormats = "\x00\x01\x00\x01"
	noResults     = "\x00\x00"
	version3      = 3 << 16
)

func c(s string) string { return s + "\x00" }

func join(frames ...[]byte) []byte {
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	return all
}

func ready(status string) []byte  { return typed('Z', status) }
func complete(tag string) []byte  { return typed('C', c(tag)) }
func query(sql string) []byte     { return typed('Q', c(sql)) }
func ask(frames ...[]byte) stream { return stream{history.Request, join(frames...)} }
func answer(frames ...[]byte) stream {
	return stream{history.Response, join(frames...)}
}

// postgresSession is a connection from its first byte: encryption refused, a transaction by the extended
// protocol, an implicit commit, an error.
func postgresSession() []stream {
	return []stream{
		ask(untyped(80877104, "")), answer([]byte("N")),
		ask(untyped(80877103, "")), answer([]byte("N")),
		ask(untyped(version3, c("user")+c("postgres")+"\x00")),
		answer(typed('R', "\x00\x00\x00\x00"), typed('S', c("a")+c("b")), ready("I")),
		ask(query("begin")), answer(complete("BEGIN"), ready("T")),
		ask(typed('P', c("s1"), c("insert into orders values ($1, $2)"), "\x00\x00"), typed('D', "S", c("s1")), typed('S')),
		answer(typed('1'), typed('t', "\x00\x00"), typed('n'), ready("T")),
		ask(typed('B', c(""), c("s1"), textFormats, "\x00\x02", param("order-0001"), param("3"), noResults),
			typed('E', c(""), "\x00\x00\x00\x00"), typed('S')),
		answer(typed('2'), complete("INSERT 0 1"), ready("T")),
		ask(query("commit")), answer(complete("COMMIT"), ready("I")),
		ask(typed('B', c(""), c("s1"), binaryFormats, "\x00\x01", param("0123456789abcde\x00"), noResults),
			typed('E', c(""), "\x00\x00\x00\x00"), typed('S')),
		answer(typed('2'), complete("INSERT 0 1"), ready("I")),
		ask(query("select 1/0")), answer(typed('E', "S", c("ERROR"), "C", c("22012"), "\x00"), ready("I")),
		ask(typed('X')),
	}
}

// run parses a session after a startup and returns its messages by direction.
func run(t *testing.T, parts ...stream) (requests, responses []wire.Message) {
	t.Helper()
	parts = append([]stream{ask(untyped(version3, "\x00")), answer(ready("I"))}, parts...)
	splits(t, wire.Postgres, 7, parts, false)
	now := time.Duration(0)
	codec := wire.New(wire.Postgres, wire.Options{Now: func() time.Duration { now++; return now }})
	for _, part := range parts {
		for data := part.data; len(data) > 0; {
			var m wire.Message
			n := codec.Next(part.direction, data, &m)
			require.Positive(t, n, "message cut short")
			require.False(t, m.Fragment)
			data = data[n:]
			if part.direction == history.Request {
				requests = append(requests, m)
			} else {
				responses = append(responses, m)
			}
		}
	}
	return requests[1:], responses[1:]
}

func kinds(messages []wire.Message) []string {
	var all []string
	for _, m := range messages {
		name := m.Kind
		if m.Status != "" {
			name += " " + m.Status
		}
		all = append(all, name)
	}
	return all
}

func only(t *testing.T, messages []wire.Message, kind string) wire.Message {
	t.Helper()
	var found []wire.Message
	for _, m := range messages {
		if m.Kind == kind {
			found = append(found, m)
		}
	}
	require.Len(t, found, 1, "%v", kinds(messages))
	return found[0]
}

func TestPostgresSession(t *testing.T) {
	splits(t, wire.Postgres, 5, postgresSession(), false)
	messages, _ := feed(t, wire.Postgres, 0, postgresSession())
	assert.Contains(t, messages, `request COMMIT "" ["order-0001"] [] 12 5 0`)
	assert.Contains(t, messages, `response COMMIT "" ["order-0001"] [] 12 0 0`)
	assert.Contains(t, messages, `request COMMIT "implicit" ["30313233-3435-3637-3839-616263646500"] [] 5 0 0`)
	assert.Contains(t, messages, `response COMMIT "implicit" ["30313233-3435-3637-3839-616263646500"] [] 6 0 6`)
	assert.Contains(t, messages, `request Bind "" ["order-0001"] [] 34 4 0`, "the first message of a batch opens its exchange")
	assert.Contains(t, messages, `response Error "22012" [] [] 20 0 0`)
	assert.Contains(t, messages, `response ReadyForQuery "T" [] [] 6 0 2`)
}

func TestPostgresCommitByEveryRoute(t *testing.T) {
	insert := query("insert into orders values ('order-0001', 'short', 3)")
	for name, commit := range map[string][]byte{
		"commit": query("commit"), "semicolon": query(" COMMIT ; "), "end": query("end"), "comment": query("/* ' */ -- ;\ncommit"),
		"extended": join(typed('P', c(""), c("commit"), "\x00\x00"), typed('B', c(""), c(""), "\x00\x00", "\x00\x00", noResults),
			typed('E', c(""), "\x00\x00\x00\x00"), typed('S')),
	} {
		t.Run(name, func(t *testing.T) {
			requests, responses := run(t, ask(query("BEGIN ISOLATION LEVEL SERIALIZABLE")), answer(complete("BEGIN"), ready("T")),
				ask(insert), answer(complete("INSERT 0 1"), ready("T")), ask(commit), answer(complete("COMMIT"), ready("I")),
				ask(query("select 'order-0002'")), answer(complete("SELECT 1"), ready("I")))
			for _, m := range []wire.Message{only(t, requests, "COMMIT"), only(t, responses, "COMMIT")} {
				assert.Equal(t, []string{"order-0001"}, m.Tokens)
				assert.Equal(t, time.Duration(1), m.Began)
				assert.Empty(t, m.Status)
			}
		})
	}
}

func TestPostgresPipelinedTransactions(t *testing.T) {
	bind := func(id string) []byte {
		return join(typed('B', c(""), c("w"), textFormats, "\x00\x01", param(id), noResults), typed('E', c(""), "\x00\x00\x00\x00"))
	}
	requests, responses := run(t,
		ask(typed('P', c("w"), c("update orders set x = 1 where order_id = $1"), "\x00\x00"), typed('S')), answer(typed('1'), ready("I")),
		ask(query("begin"), bind("order-0001"), typed('S'), query("commit"), query("begin"), bind("order-0002"), typed('S'), query("rollback")),
		answer(complete("BEGIN"), ready("T"), typed('2'), complete("UPDATE 1"), ready("T"), complete("COMMIT"), ready("I"),
			complete("BEGIN"), ready("T"), typed('2'), complete("UPDATE 1"), ready("T"), complete("ROLLBACK"), ready("I")))
	assert.Equal(t, []string{"order-0001"}, only(t, requests, "COMMIT").Tokens)
	assert.Equal(t, []string{"order-0001"}, only(t, responses, "COMMIT").Tokens)
	assert.Equal(t, []string{"order-0002"}, only(t, responses, "ROLLBACK").Tokens)
	var closes []int64
	for _, m := range responses {
		if m.Closes != 0 {
			closes = append(closes, m.Closes)
		}
	}
	assert.Equal(t, []int64{2, 3, 4, 5, 6, 7, 8}, closes)
}

func TestPostgresCommitThatRollsBack(t *testing.T) {
	_, responses := run(t, ask(query("begin; update orders set x = 'order-0001'")), answer(complete("BEGIN"), complete("UPDATE 1"), ready("T")),
		ask(query("oops")), answer(typed('E', "C", c("42601"), "\x00"), ready("E")), ask(query("commit")), answer(complete("ROLLBACK"), ready("I")))
	m := only(t, responses, "COMMIT")
	assert.Equal(t, "ROLLBACK", m.Status)
	assert.Equal(t, []string{"order-0001"}, m.Tokens)
	assert.Equal(t, []string{"order-0001"}, only(t, responses, "Error").Tokens)
}

func TestPostgresCommitSkippedAfterAnErrorOfItsBatch(t *testing.T) {
	step := func(sql string) []byte {
		return join(typed('P', c(""), c(sql), "\x00\x00"), typed('B', c(""), c(""), "\x00\x00", "\x00\x00", noResults), typed('E', c(""), "\x00\x00\x00\x00"))
	}
	_, responses := run(t, ask(query("begin")), answer(complete("BEGIN"), ready("T")),
		ask(query("insert into orders values ('order-0001')")), answer(complete("INSERT 0 1"), ready("T")),
		ask(step("savepoint s"), step("select 1/0"), step("commit"), typed('S')),
		answer(typed('1'), typed('2'), complete("SAVEPOINT"), typed('E', "C", c("22012"), "\x00"), ready("E")),
		ask(query("rollback to s")), answer(complete("ROLLBACK"), ready("T")),
		ask(query("commit")), answer(complete("COMMIT"), ready("I")))
	m := only(t, responses, "COMMIT")
	assert.Equal(t, []string{"order-0001"}, m.Tokens, "the skipped COMMIT must not lose the transaction's ids")
	assert.Empty(t, m.Status)
}

func TestPostgresStatementsOutsideABlock(t *testing.T) {
	for sql, commits := range map[string]bool{
		"insert into orders values ('order-0001')": true, "with d as (delete from t returning *) select * from d": true,
		"create table t()": true, "select 1": false, "show all": false, "select 'insert into t'": false, "with a as (select 1) table a": false,
		"set x = 'y'": false, "copy t from stdin": true, "": false, "-- commit": false, "select $q$; delete from t;$q$": false, `select "a;b"`: false,
	} {
		requests, responses := run(t, ask(query(sql)), answer(complete("X"), ready("I")))
		assert.Equal(t, commits, requests[0].Kind == "COMMIT", sql)
		assert.Equal(t, commits, responses[1].Kind == "COMMIT", sql)
	}
	_, responses := run(t, ask(query("insert into t values (1)")), answer(typed('E', "C", c("23505"), "\x00"), ready("I")))
	assert.Equal(t, []string{"Error 23505", "ReadyForQuery I"}, kinds(responses), "what failed did not commit")
}

func TestPostgresEncryptionMakesTheConnectionOpaque(t *testing.T) {
	codec := wire.New(wire.Postgres, wire.Options{})
	var m wire.Message
	request := untyped(80877103, "")
	require.Equal(t, len(request), codec.Next(history.Request, request, &m))
	require.Equal(t, 3, codec.Next(history.Response, []byte("Sxx"), &m))
	assert.True(t, m.Fragment)
	assert.True(t, codec.Opaque())
	assert.Equal(t, "Sxx", string(m.Data))
	require.Equal(t, 4, codec.Next(history.Request, []byte("\x16abc"), &m))
}

func TestPostgresLargeFramesPassInFragments(t *testing.T) {
	row := typed('D', string(make([]byte, 3<<20)))
	splits(t, wire.Postgres, 1<<16, []stream{ask(untyped(version3, "\x00")), answer(ready("I")), ask(query("select 1"))}, false)
	codec := wire.New(wire.Postgres, wire.Options{})
	var m wire.Message
	n := codec.Next(history.Response, row[:100], &m)
	require.Equal(t, 100, n, "need not be held whole")
	require.True(t, m.Fragment)
	require.Equal(t, len(row)-100, codec.Next(history.Response, row[100:], &m))
	require.Equal(t, 6, codec.Next(history.Response, ready("I"), &m))
	assert.Equal(t, "ReadyForQuery", m.Kind)
}
