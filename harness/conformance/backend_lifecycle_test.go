package conformance_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// lifecycle: what New returns is ready, and Close leaves only the logs.
func lifecycle(t *testing.T, s *suite) {
	assert.Contains(t, []string{"embedded", "containers"}, s.Name())
	assert.NotEmpty(t, s.Versions()["postgres"])
	assert.NotEmpty(t, s.Versions()["broker"])

	e := s.start(t, 0)
	for _, server := range e.servers() {
		assert.True(t, server.Alive(), server.name)
		assert.Positive(t, server.PID(), server.name)
		assert.Equal(t, []string{"started", "ready"}, e.lived(server.name))
	}
	conn := e.connect(t)
	insert(t, conn, 1)
	assert.Equal(t, []int{1}, e.items(t), "the schema is there")
	assert.Equal(t, []string{stack.Publication}, query[string](t, conn, "SELECT pubname FROM pg_publication WHERE puballtables"))
	assert.Equal(t, []string{"ordeal_shop"}, query[string](t, conn,
		"SELECT slot_name FROM pg_replication_slots WHERE plugin = 'pgoutput' AND database = 'shop' AND NOT temporary"))
	assert.Equal(t, "ordeal_shop", stack.SlotName("shop"))

	listed, err := kadm.NewClient(e.kafka(t)).ListTopics(within(t, patience))
	require.NoError(t, err)
	got := map[string]int{}
	for _, topic := range listed {
		require.NoError(t, topic.Err)
		got[topic.Topic] = len(topic.Partitions)
	}
	assert.Equal(t, map[string]int{"orders": 6, "stock": 1}, got)
	publish(t, e.kafka(t), "orders", "o-1")

	require.NoError(t, e.Close(t.Context()))
	require.NoError(t, e.Close(t.Context()), "again is harmless")
	assert.False(t, e.postgres().Alive())
	dead, err := (&net.Dialer{Timeout: moment}).Dial("tcp", e.postgres().Addr())
	if !assert.Error(t, err, "nobody listens any more") {
		_ = dead.Close()
	}
	// Brokers in containers run on, for the next environment: starting one takes seconds.
	if s.engine == nil {
		assert.False(t, e.Brokers()[0].Alive())
	}
	_, err = e.StartService(t.Context(), stack.Spec{Name: "late", Program: service.Name})
	assert.ErrorContains(t, err, "environment is closed")
	assert.Error(t, e.postgres().Start(t.Context()))

	left, err := os.ReadDir(e.dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, "logs", left[0].Name())
	assert.Equal(t, filepath.Join(e.dir, "logs"), e.LogDir())
	for _, server := range e.servers() {
		assert.Equal(t, e.LogDir(), filepath.Dir(server.LogPath()))
		assert.FileExists(t, server.LogPath())
		assert.NotEmpty(t, server.LastLog(1), server.name)
	}
}

func separatePostgres(t *testing.T, s *suite) {
	two := []stack.Database{databases[0], {Name: "bank", Schema: "CREATE TABLE accounts (id int PRIMARY KEY)"}}
	e := s.startWith(t, stack.Options{Databases: two, SeparatePostgres: true})
	assert.Empty(t, e.Brokers(), "none without topics")
	require.Len(t, e.PostgresServers(), 2)
	shop, bank := e.Postgres("shop"), e.Postgres("bank")
	assert.Equal(t, []string{"postgres-shop", "postgres-bank"}, []string{shop.Name(), bank.Name()})
	require.NoError(t, bank.Kill(within(t, patience)))
	assert.True(t, shop.Alive())
	insert(t, e.connect(t), 1)
	assert.Equal(t, []string{"started", "ready", "exited killed"}, e.lived("postgres-bank"))
	assert.Equal(t, []string{"started", "ready"}, e.lived("postgres-shop"))
	assert.Nil(t, e.Postgres("nothing"))
}

// refusesNonsense: New that cannot be done leaves nothing.
func refusesNonsense(t *testing.T, s *suite) {
	for want, options := range map[string]stack.Options{
		"no run folder given":              {},
		`database "a" is given twice`:      {Dir: t.TempDir(), Databases: []stack.Database{{Name: "a"}, {Name: "a"}}},
		`topic "t" with 0 partitions`:      {Dir: t.TempDir(), Topics: []stack.Topic{{Name: "t"}}},
		`syntax error at or near "CREATS"`: {Dir: t.TempDir(), Databases: []stack.Database{{Name: "a", Schema: "CREATS"}}},
	} {
		options.Record = s.note
		_, err := s.New(within(t, time.Minute), options)
		assert.ErrorContains(t, err, want)
	}
}
