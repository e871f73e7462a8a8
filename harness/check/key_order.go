package check

import "fmt"

var perKeyOrder = Guarantee{
	ID: "I12", Name: "per-key-order",
	Statement: "Events of one order are on one partition, first appear in version order, and are applied in version order.",
	Check:     checkPerKeyOrder,
}

func checkPerKeyOrder(v *View) (f Finding) {
	for _, topic := range v.eventTopics() {
		examined, anomalies := v.logOrder(topic)
		f.Examined += examined
		f.Anomalies = append(f.Anomalies, anomalies...)
	}
	f.Anomalies = append(f.Anomalies, v.applicationOrder()...)
	return f
}

// eventTopics are the topics with records that some service produces, by first record.
func (v *View) eventTopics() []string {
	var topics []string
	seen := make(map[string]bool)
	for _, partition := range v.Partitions {
		// Retries come again in any order: what counts is in which order they are applied.
		if !seen[partition.Topic] && v.producer(partition.Topic) != "" && !isRetryTopic(partition.Topic) {
			seen[partition.Topic] = true
			topics = append(topics, partition.Topic)
		}
	}
	return topics
}

// logOrder judges one topic. Producing is at least once, so that only the first record of each event
// counts: v1 v2 v1 is legal.
func (v *View) logOrder(topic string) (examined int, anomalies []Anomaly) {
	first := make(map[string]*Record)  // of each order in the topic
	newest := make(map[string]*Record) // of each order in the partition
	split := make(map[string]bool)
	for _, partition := range v.Partitions {
		if partition.Topic != topic {
			continue
		}
		seen := make(map[string]bool)
		clear(newest)
		for _, record := range partition.Records {
			if !record.Visible() || record.Payload == nil {
				continue
			}
			order := record.Payload.OrderID
			if earlier := first[order]; earlier == nil {
				first[order] = record
				examined++
			} else if earlier.Partition != record.Partition && !split[order] {
				split[order] = true
				anomalies = append(anomalies, Anomaly{
					Name: SplitKey, Subject: "order " + order,
					Detail: fmt.Sprintf("its events are at %v and at %v", earlier.Position(), record.Position()),
					Events: []int64{earlier.Seq, record.Seq},
				})
			}
			if seen[record.EventID] {
				continue
			}
			seen[record.EventID] = true
			before := newest[order]
			if before == nil || record.Payload.Version >= before.Payload.Version {
				newest[order] = record
				continue
			}
			anomalies = append(anomalies, Anomaly{
				Name: ReorderedEvent, Subject: "order " + order,
				Detail: fmt.Sprintf("version %d first appears at %v, after version %d at %v",
					record.Payload.Version, record.Position(), before.Payload.Version, before.Position()),
				Events: []int64{before.Seq, record.Seq},
			})
		}
	}
	return examined, anomalies
}

// applicationOrder judges what consumers did, in commit order: an event must not be applied after a
// newer one of its order was handled. Ignoring an old one late is how a consumer keeps this promise.
func (v *View) applicationOrder() []Anomaly {
	type key struct{ consumer, topic, order string }
	newest := make(map[key]*InboxRow)
	var anomalies []Anomaly
	for _, row := range v.Inbox {
		event := v.events[row.EventID]
		if event.Version == 0 || event.Order == "" || row.Outcome == DeadLettered {
			continue
		}
		at := key{row.Consumer, row.Topic, event.Order}
		before := newest[at]
		if before == nil || event.Version >= v.events[before.EventID].Version {
			newest[at] = row
			continue
		}
		if row.Outcome != Applied {
			continue
		}
		anomalies = append(anomalies, Anomaly{
			Name: OutOfOrderApplication, Subject: "order " + event.Order,
			Detail: fmt.Sprintf("%s applied version %d at LSN %d, after it had %s version %d at LSN %d",
				row.Consumer, event.Version, row.LSN, before.Outcome, v.events[before.EventID].Version, before.LSN),
			Events: []int64{before.Seq, row.Seq},
		})
	}
	return anomalies
}
