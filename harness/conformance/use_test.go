package conformance_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// bound is the most that one step may take: a rebalance of a KIP-848 group takes up to three heartbeats, of
// 5 s each by default.
const bound = 40 * time.Second

func (u *user) topic(what string) string { return u.name + "-" + what }

// do asks the client, which must not fail.
func (u *user) do(t *testing.T, r request) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	a, err := u.client.do(ctx, r)
	require.NoError(t, err, "%s %s", r.Op, r.Topic)
	return a
}

// send asks for records with the given keys to be produced, and checks that all of them were.
func (u *user) send(t *testing.T, r request) []record {
	t.Helper()
	sent := u.do(t, r).Records
	require.ElementsMatch(t, contents(r.Records), contents(sent))
	u.sent = append(u.sent, sent...)
	return sent
}

// fresh makes records whose keys were not used before; the values have the given length.
func (u *user) fresh(topic string, count, length int) []record {
	records := make([]record, count)
	for i := range records {
		key := fmt.Sprintf("%s-%04d", topic, len(u.sent)+i)
		records[i] = record{Key: key, Value: (key + strings.Repeat(" and so on", length/10))[:max(length, len(key))]}
	}
	return records
}

// contents are the records without where they lie.
func contents(records []record) []string {
	all := make([]string, len(records))
	for i, r := range records {
		all[i] = r.Key + "=" + r.Value
	}
	return all
}

// receives waits until the members together received the records, none twice and no others.
func (u *user) receives(t *testing.T, want []record, members ...string) {
	t.Helper()
	var got []record
	await(t, fmt.Sprintf("%d records", len(want)), func() (string, bool) {
		got = nil
		for _, m := range members {
			got = append(got, u.do(t, request{Op: received, Member: m}).Records...)
		}
		return fmt.Sprintf("%d records", len(got)), len(got) >= len(want)
	})
	requireEach(t, want, got)
	u.got = append(u.got, got...)
}

// requireEach demands that each record was received once and no other one.
func requireEach(t *testing.T, want, got []record) {
	t.Helper()
	times := map[record]int{}
	for _, r := range got {
		times[r]++
	}
	var lost, doubled, strange []string
	for _, r := range want {
		if times[r] == 0 {
			lost = append(lost, r.at())
		} else if times[r] > 1 {
			doubled = append(doubled, r.at())
		}
		delete(times, r)
	}
	for r := range times {
		strange = append(strange, fmt.Sprintf("%s %s", r.at(), r.Key))
	}
	require.Empty(t, lost, "lost")
	require.Empty(t, doubled, "received twice")
	require.Empty(t, strange, "never acknowledged, or altered")
}

// await asks again and again until the condition holds; it says what it saw instead.
func await(t *testing.T, what string, condition func() (saw string, ok bool)) {
	t.Helper()
	for deadline := time.Now().Add(bound); ; time.Sleep(50 * time.Millisecond) {
		saw, ok := condition()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			require.Fail(t, "waited in vain", "for %s, saw %s", what, saw)
		}
	}
}

// shared waits until the coordinator says that the members of the group have so many partitions each.
func (u *user) shared(t *testing.T, group, protocol string, want ...int) {
	t.Helper()
	await(t, fmt.Sprint(want), func() (string, bool) {
		sizes, err := u.stage.assigned(t.Context(), group, protocol)
		return fmt.Sprint(sizes, err), err == nil && assert.ObjectsAreEqual(want, sizes)
	})
}

// group consumes with one member, then two, then one again.
func (u *user) group(t *testing.T, protocol string) {
	topic := u.topic(protocol)
	produced := func() request {
		return request{Op: produce, Topic: topic, Codec: noCodec, Records: u.fresh(topic, everyKey, 0)}
	}
	member := func(name string) request {
		return request{Op: join, Topic: topic, Group: topic, Protocol: protocol, Member: topic + name}
	}
	first, second := topic+"-1", topic+"-2"
	all := u.send(t, produced())
	u.do(t, member("-1"))
	u.receives(t, all, first)

	u.do(t, member("-2"))
	u.shared(t, topic, protocol, partitions/2, partitions/2)
	all = append(all, u.send(t, produced())...)
	u.receives(t, all, first, second)
	taken := u.do(t, request{Op: received, Member: second}).Records
	require.NotEmpty(t, taken, "the second member has partitions and got none of their records")

	u.do(t, request{Op: leave, Member: second})
	u.shared(t, topic, protocol, partitions)
	last := u.send(t, produced())
	// What the second member committed is not received again.
	u.receives(t, append(without(all, taken), last...), first)
	u.do(t, request{Op: leave, Member: first})
}

// without returns the records that are not among the others.
func without(records, others []record) []record {
	var left []record
	gone := map[record]bool{}
	for _, r := range others {
		gone[r] = true
	}
	for _, r := range records {
		if !gone[r] {
			left = append(left, r)
		}
	}
	return left
}

// transactions are read back by a consumer that reads committed records only.
func (u *user) transactions(t *testing.T) {
	topic := u.topic("transactions")
	var committed []record
	for _, commit := range []bool{true, false, true} {
		sent := u.send(t, request{
			Op: transact, Topic: topic, Transaction: topic, Commit: commit, Records: u.fresh(topic, everyKey, 0),
		})
		if u.ends++; commit {
			committed = append(committed, sent...)
		}
	}
	u.do(t, request{Op: join, Topic: topic, Group: topic, Protocol: classic, Committed: true, Member: topic})
	u.receives(t, committed, topic)
	u.do(t, request{Op: leave, Member: topic})
}

// codecs produces with each, proves by a reader that does not pass the links that it was used, and reads
// all of it back.
func (u *user) codecs(t *testing.T) {
	topic := u.topic("codecs")
	var all []record
	used := map[string]string{} // by key
	for _, codec := range codecs {
		sent := u.send(t, request{Op: produce, Topic: topic, Codec: codec, Records: u.fresh(topic, 12, 2000)})
		for _, r := range sent {
			used[r.Key] = codec
		}
		all = append(all, sent...)
	}
	u.do(t, request{Op: join, Topic: topic, Group: topic, Protocol: classic, Member: topic})
	u.receives(t, all, topic)
	u.do(t, request{Op: leave, Member: topic})

	names := append([]string{noCodec}, codecs...) // as record batches number them
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	stored := map[string]string{}
	for observer := u.stage.observe(t, topic); len(stored) < len(used); {
		fetched := observer.PollFetches(ctx)
		require.NoError(t, fetched.Err())
		fetched.EachRecord(func(r *kgo.Record) { stored[string(r.Key)] = names[r.Attrs.CompressionType()] })
	}
	assert.Equal(t, used, stored)
}

// admin creates a topic, and is told of no broker but through the links.
func (u *user) admin(t *testing.T) {
	records := u.fresh(u.topic("admin"), everyKey, 0)
	a := u.do(t, request{Op: admin, Topic: u.topic("admin"), Partitions: partitions, Replicas: 1, Records: records})
	u.sent = append(u.sent, a.Records...)
	assert.ElementsMatch(t, contents(records), contents(a.Records))
	assert.ElementsMatch(t, u.addresses(), a.Brokers)
	assert.Equal(t, int64(everyKey), a.End)
}
