package wire

import (
	"encoding/binary"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// kafka is the state of one connection.
type kafka struct {
	options Options
	passing passing
	opaque  bool
	waiting map[int32]kafkaRequest // by correlation id
	opened  int64
	fetched map[topicPartition]int64 // where each partition is fetched from; fetch sessions repeat only changes
}

// kafkaRequest is what a response's reading needs to know of its request.
type kafkaRequest struct {
	key, version    int16
	exchange        int64
	tokens, records []string
	batches         []producedBatch // of a Produce for several partitions
}

// producedBatch is what a Produce carries for one partition.
type producedBatch struct {
	to     topicPartition
	tokens []string
}

type topicPartition struct {
	topic     string
	partition int32
}

func newKafka(o Options) *kafka {
	return &kafka{options: o, waiting: map[int32]kafkaRequest{}, fetched: map[topicPartition]int64{}}
}

// Opaque implements [Codec].
func (k *kafka) Opaque() bool { return k.opaque }

// Next implements [Codec].
func (k *kafka) Next(direction string, data []byte, m *Message) int {
	if len(data) == 0 {
		return 0
	}
	if k.opaque {
		return fragment(direction, data, m)
	}
	if n := k.passing.next(direction, data, m); n > 0 {
		return n
	}
	least := 8 // size, correlation id
	if direction == history.Request {
		least = 12 // size, key, version, correlation id
	}
	if len(data) < 4 {
		return 0
	}
	length := int64(binary.BigEndian.Uint32(data)) + 4
	if length < int64(least) || length > 1<<30 {
		k.opaque = true
		return fragment(direction, data, m)
	}
	if length > maxFrame {
		return k.tooLarge(direction, data, int(length), least, m)
	}
	if int64(len(data)) < length {
		return 0
	}
	frame := data[:length]
	*m = Message{Direction: direction, Size: len(frame), Data: frame}
	if direction == history.Request {
		k.request(frame, m)
	} else if !k.response(frame, m) {
		k.opaque = true
		return fragment(direction, data, m)
	}
	return len(frame)
}

// tooLarge lets a frame pass in fragments and keeps the pairing of requests and responses intact.
func (k *kafka) tooLarge(direction string, data []byte, length, least int, m *Message) int {
	if len(data) < least {
		return 0
	}
	if direction == history.Request {
		k.waiting[int32(binary.BigEndian.Uint32(data[8:]))] = kafkaRequest{
			key: int16(binary.BigEndian.Uint16(data[4:])), version: int16(binary.BigEndian.Uint16(data[6:])),
		}
	} else {
		delete(k.waiting, int32(binary.BigEndian.Uint32(data[4:])))
	}
	*k.passing.left(direction) = length
	return k.passing.next(direction, data, m)
}

// waits says which requests the broker answers late on purpose.
func waits(key kmsg.Key) bool {
	return key == kmsg.Fetch || key == kmsg.JoinGroup || key == kmsg.SyncGroup || key == kmsg.ShareFetch
}

func (k *kafka) request(frame []byte, m *Message) {
	key, version := int16(binary.BigEndian.Uint16(frame[4:])), int16(binary.BigEndian.Uint16(frame[6:]))
	r := kafkaRequest{key: key, version: version}
	m.Kind = kmsg.NameForKey(key)
	if m.Kind == "" || m.Kind == "Unknown" {
		m.Kind = "Api" + strconv.Itoa(int(key))
	}
	acks := true
	var body kmsg.Request
	switch kmsg.Key(key) {
	case kmsg.Produce:
		if body = k.decodeRequest(frame, key, version, m); body != nil {
			produce := body.(*kmsg.ProduceRequest)
			r.batches = k.produce(produce, m)
			acks = produce.Acks != 0
			r.tokens = m.Tokens
		}
	case kmsg.EndTxn:
		if body = k.decodeRequest(frame, key, version, m); body != nil {
			m.Tokens = []string{body.(*kmsg.EndTxnRequest).TransactionalID}
			r.tokens = m.Tokens
		}
	case kmsg.Fetch:
		if body = k.decodeRequest(frame, key, version, m); body != nil {
			k.fetch(body.(*kmsg.FetchRequest))
		}
	case kmsg.OffsetCommit:
		if body = k.decodeRequest(frame, key, version, m); body != nil {
			commit := body.(*kmsg.OffsetCommitRequest)
			for _, topic := range commit.Topics {
				for _, p := range topic.Partitions {
					m.Records = append(m.Records, recordName(k.options.Topics.name(topic.Topic, topic.TopicID), p.Partition, p.Offset))
				}
			}
			r.records = m.Records
		}
	}
	if !acks {
		return // the broker sends no answer
	}
	if !waits(kmsg.Key(key)) {
		k.opened++
		r.exchange, m.Opens = k.opened, k.opened
	}
	k.waiting[int32(binary.BigEndian.Uint32(frame[8:]))] = r
}

// decodeRequest returns nil for what cannot be decoded: it passes as it came, unread.
func (k *kafka) decodeRequest(frame []byte, key, version int16, m *Message) kmsg.Request {
	body := decodeRequest(frame, key, version)
	m.Unread = body == nil
	return body
}

func decodeRequest(frame []byte, key, version int16) kmsg.Request {
	body := kmsg.RequestForKey(key)
	if body == nil || version > body.MaxVersion() {
		return nil
	}
	body.SetVersion(version)
	rest := frame[12:]
	if len(rest) < 2 { // client id
		return nil
	}
	client := int(int16(binary.BigEndian.Uint16(rest)))
	rest = rest[2:]
	if client > 0 {
		if len(rest) < client {
			return nil
		}
		rest = rest[client:]
	}
	if body.IsFlexible() {
		if rest = skipTags(rest); rest == nil {
			return nil
		}
	}
	if body.ReadFrom(rest) != nil {
		return nil
	}
	return body
}

// skipTags skips a section of tagged fields; nil means that it is damaged.
func skipTags(b []byte) []byte {
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return nil
	}
	b = b[n:]
	for range count {
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return nil
		}
		size, s := binary.Uvarint(b[n:])
		if s <= 0 || size > uint64(len(b)-n-s) {
			return nil
		}
		b = b[n+s+int(size):]
	}
	return b
}

// produce collects what a Produce request carries, and, when that is for several partitions, for each of them.
func (k *kafka) produce(request *kmsg.ProduceRequest, m *Message) []producedBatch {
	var all tokenSet
	var batches []producedBatch
	for _, topic := range request.Topics {
		name := k.options.Topics.name(topic.Topic, topic.TopicID)
		for _, p := range topic.Partitions {
			m.Records = append(m.Records, name+"/"+strconv.Itoa(int(p.Partition)))
			var tokens tokenSet
			whole := eachRecord(p.Records, func(_ int64, record *kmsg.Record) {
				addToken(&tokens, record.Key)
				for _, header := range record.Headers {
					addToken(&tokens, header.Value)
				}
			})
			m.Unread = m.Unread || !whole
			batches = append(batches, producedBatch{topicPartition{name, p.Partition}, tokens.list})
			if all.list == nil {
				all = tokens
				continue
			}
			for _, token := range tokens.list {
				all.addString(token)
			}
		}
	}
	if request.TransactionID != nil {
		all.addString(*request.TransactionID)
	}
	m.Tokens = all.list
	if len(batches) == 1 {
		return nil
	}
	return batches
}

// fetch remembers from where each partition is read: a batch may begin before that.
func (k *kafka) fetch(request *kmsg.FetchRequest) {
	for _, topic := range request.Topics {
		name := k.options.Topics.name(topic.Topic, topic.TopicID)
		for _, p := range topic.Partitions {
			k.fetched[topicPartition{name, p.Partition}] = p.FetchOffset
		}
	}
}

// response pairs and rewrites; false means that the response answers no request.
func (k *kafka) response(frame []byte, m *Message) bool {
	id := int32(binary.BigEndian.Uint32(frame[4:]))
	r, ok := k.waiting[id]
	if !ok {
		return false
	}
	delete(k.waiting, id)
	m.Kind, m.Closes = kmsg.NameForKey(r.key), r.exchange
	if m.Kind == "" || m.Kind == "Unknown" {
		m.Kind = "Api" + strconv.Itoa(int(r.key))
	}
	m.Tokens, m.Records = r.tokens, r.records
	if kmsg.Key(r.key) == kmsg.ApiVersions {
		m.Data = k.capVersions(frame, r.version, m)
	} else if _, known := highest[r.key]; known {
		k.rewrite(frame, r, m)
	}
	return true
}

// produced notes the offsets that a Produce response gives. What it acknowledges in part is what its
// tokens tell of; an answer that acknowledges nothing is still known by all that was asked.
func (k *kafka) produced(body *kmsg.ProduceResponse, r kafkaRequest, m *Message) {
	acknowledged := map[topicPartition]bool{}
	for _, topic := range body.Topics {
		name := k.options.Topics.name(topic.Topic, topic.TopicID)
		for _, p := range topic.Partitions {
			if p.ErrorCode == 0 {
				m.Records = append(m.Records, recordName(name, p.Partition, p.BaseOffset))
				acknowledged[topicPartition{name, p.Partition}] = true
			}
		}
	}
	if len(acknowledged) == 0 || len(acknowledged) >= len(r.batches) {
		return
	}
	var tokens tokenSet
	for _, batch := range r.batches {
		if acknowledged[batch.to] {
			for _, token := range batch.tokens {
				tokens.addString(token)
			}
		}
	}
	m.Tokens = tokens.list
}

// delivered notes the data records that a Fetch response delivers.
func (k *kafka) delivered(body *kmsg.FetchResponse, m *Message) {
	var tokens tokenSet
	for _, topic := range body.Topics {
		name := k.options.Topics.name(topic.Topic, topic.TopicID)
		for _, p := range topic.Partitions {
			from := k.fetched[topicPartition{name, p.Partition}]
			whole := eachRecord(p.RecordBatches, func(offset int64, record *kmsg.Record) {
				if offset < from {
					return
				}
				m.Records = append(m.Records, recordName(name, p.Partition, offset))
				addToken(&tokens, record.Key)
				for _, header := range record.Headers {
					if header.Key == "event_id" {
						addToken(&tokens, header.Value)
					}
				}
			})
			m.Unread = m.Unread || !whole
		}
	}
	m.Tokens = tokens.list
}

func recordName(topic string, partition int32, offset int64) string {
	return topic + "/" + strconv.Itoa(int(partition)) + "@" + strconv.FormatInt(offset, 10)
}

func addToken(tokens *tokenSet, b []byte) {
	if idLike(b, minToken) {
		tokens.add(b)
	}
}
