// Package broker owns access to Kafka: producing that is synchronous and ordered by key, and a consumer
// group that hands over each partition's records in order.
package broker

import "hash/fnv"

// Header is one header of a record. Keys may repeat.
type Header struct {
	Key   string
	Value []byte
}

// Message is a record to produce. A nil Key or Value is null.
type Message struct {
	Topic     string
	Partition *int32 // nil: chosen by Key
	Key       []byte
	Headers   []Header
	Value     []byte
}

// Record is a record as consumed.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       []byte
	Headers   []Header
	Value     []byte

	acknowledge func()
}

// Acknowledge says that the record is done with, where that is for the handler to say; else it does nothing.
func (r Record) Acknowledge() {
	if r.acknowledge != nil {
		r.acknowledge()
	}
}

// partitionOf returns the partition of m among n. It depends on the key only, so that all events of one
// order stay in order. A partition that does not exist (a dead-letter topic can have fewer) wraps around.
func partitionOf(m Message, n int32) int32 {
	if m.Partition != nil {
		return *m.Partition % n
	}
	hash := fnv.New32a()
	hash.Write(m.Key)
	return int32(hash.Sum32() % uint32(n))
}
