package observe

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// cutBrokers is a broker whose log can be put back to an earlier state, as an election of a replica that
// lagged behind does.
type cutBrokers struct {
	*brokers
	dir, saved string
}

func startCutBrokers(t *testing.T) cutBrokers {
	c := cutBrokers{dir: t.TempDir(), saved: t.TempDir()}
	c.brokers = &brokers{options: []kfake.Opt{kfake.Ports(reservePort(t)), kfake.DataDir(c.dir), kfake.SyncWrites(), kfake.SeedTopics(2, "orders", "stock")}}
	c.start(t)
	t.Cleanup(func() { c.cluster.Close() })
	return c
}

func (c cutBrokers) save(t *testing.T) {
	c.cluster.Close()
	require.NoError(t, os.RemoveAll(c.saved))
	require.NoError(t, os.CopyFS(c.saved, os.DirFS(c.dir)))
	c.start(t)
}

func (c cutBrokers) restore(t *testing.T) {
	c.cluster.Close()
	require.NoError(t, os.RemoveAll(c.dir))
	require.NoError(t, os.CopyFS(c.dir, os.DirFS(c.saved)))
	c.start(t)
}

// told keeps what a recorder is told of records, as "offset value".
type told struct {
	mu  sync.Mutex
	all []string
}

func listen(j *journal) *told {
	l := &told{}
	j.Watch(func(e history.Event) {
		if e.Record != nil {
			l.mu.Lock()
			l.all = append(l.all, fmt.Sprintf("%d %s", e.Record.Offset, e.Record.Value))
			l.mu.Unlock()
		}
	})
	return l
}

// since returns what was recorded after the first n.
func (l *told) since(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all[n:])
}

// topicsVerified returns the detail of a partition's probe. The observation is whole in any case.
func topicsVerified(t *testing.T, tap *Topics, subject string) string {
	t.Helper()
	probes, err := tap.Verify(within(t, patience))
	require.NoError(t, err)
	named := byName(probes)
	assert.True(t, named["topic "+subject].OK, named["topic "+subject].Detail)
	assert.True(t, named["tap topics"].OK)
	return named["topic "+subject].Detail
}

func TestTopicsTellWhatALogLost(t *testing.T) {
	c, j := startCutBrokers(t), newJournal(t)
	told := listen(j)
	produce(t, c.client(t), record(0, "a"))
	c.save(t)
	tap := c.tap(t, j)
	produce(t, c.client(t), record(0, "b"), record(0, "c"), record(0, "d"))
	require.NoError(t, tap.CatchUp(within(t, patience)))
	assert.Equal(t, []string{"0 a", "1 b", "2 c", "3 d"}, told.since(0))

	c.restore(t)
	unconsumed := tap.Unconsumed([]Group{{Name: "readers", Topics: []string{"orders"}}})
	require.EventuallyWithT(t, func(collect *assert.CollectT) { // the first answer may be that the connection is gone
		open, err := unconsumed(within(t, patience))
		assert.NoError(collect, err)
		assert.Equal(collect, []string{"group readers is at offset 0 of 1 in orders/0"}, open, "nobody can consume what is gone")
	}, patience, 10*time.Millisecond)
	assert.Equal(t, "cut 1-3", topicsVerified(t, tap, "orders/0"))
	assert.Len(t, told.since(0), 4)
	assert.EqualValues(t, 1, tap.VisibleEnd("orders", 0))

	produce(t, c.client(t), record(0, "x"), record(0, "c"))
	assert.Equal(t, "cut 3; replaced 1", topicsVerified(t, tap, "orders/0"), "offset 2 says the same again")
	assert.Equal(t, []string{"1 x", "2 c"}, told.since(4), "what is in the place of b is recorded")

	produce(t, c.client(t), record(0, "y"), record(0, "z"))
	assert.Equal(t, "replaced 1,3", topicsVerified(t, tap, "orders/0"))
	assert.Equal(t, []string{"3 y", "4 z"}, told.since(6))
}

func TestTopicsFollowALogThatWasCutWhileItRuns(t *testing.T) {
	c, j := startCutBrokers(t), newJournal(t)
	told := listen(j)
	produce(t, c.client(t), record(0, "a"))
	c.save(t)
	tap := c.tap(t, j)
	produce(t, c.client(t), record(0, "b"), record(0, "c"))
	require.NoError(t, tap.CatchUp(within(t, patience)))
	c.restore(t)
	produce(t, c.client(t), record(0, "x"), record(0, "y"), record(0, "z"), record(0, "end"))
	require.NoError(t, tap.CatchUp(within(t, patience)))
	assert.Equal(t, "replaced 1-2", topicsVerified(t, tap, "orders/0"))
	assert.Subset(t, told.since(3), []string{"1 x", "2 y", "3 z", "4 end"})
}

func TestTopicsTakeAControlRecordInThePlaceOfData(t *testing.T) {
	c, j := startCutBrokers(t), newJournal(t)
	c.save(t)
	tap := c.tap(t, j)
	produce(t, c.client(t), record(0, "a"), record(0, "b"))
	require.NoError(t, tap.CatchUp(within(t, patience)))
	c.restore(t)
	transact(t, c.client(t, kgo.TransactionalID("x")), kgo.TryCommit, record(0, "a"))
	assert.Equal(t, "cut 1", topicsVerified(t, tap, "orders/0"), "offset 1 is a marker now")
}
