package harness

import (
	"slices"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// overlaps counts, for each SKU, the transactions that named it and began before another one that named
// it too was answered: without them there was no race for it. Both ends were seen at the taps, by one clock.
func overlaps(events []history.Event, skus []string) []history.Probe {
	type span struct{ began, ended time.Duration }
	spans := map[string][]span{}
	for _, event := range events {
		w := event.Wire
		if w == nil || w.Kind != "COMMIT" || w.Direction != history.Response || w.Began == 0 {
			continue
		}
		for _, sku := range skus {
			if slices.Contains(w.Tokens, sku) {
				spans[sku] = append(spans[sku], span{w.Began, event.At})
			}
		}
	}
	var probes []history.Probe
	for _, sku := range skus {
		list := spans[sku]
		slices.SortFunc(list, func(a, b span) int { return int(a.began - b.began) })
		var count int64
		var latest time.Duration
		for _, s := range list {
			if s.began < latest {
				count++
			}
			latest = max(latest, s.ended)
		}
		probes = append(probes, history.Probe{
			Name: history.ProbeOverlap, Subject: sku, OK: count > 0,
			Numbers: map[string]int64{"overlaps": count, "transactions": int64(len(list))},
		})
	}
	return probes
}
