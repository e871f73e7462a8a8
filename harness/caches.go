package harness

import (
	"context"
	"fmt"
	"slices"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/observe"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

func (s System) cacheNames() []string {
	var names []string
	for _, cache := range s.Caches {
		names = append(names, cache.Name)
	}
	return names
}

// cache returns the server of that name; nil when there is none.
func (x *experiment) cache(name string) *stack.Cache {
	for _, cache := range x.stack.Caches() {
		if cache.Name() == name {
			return cache
		}
	}
	return nil
}

// cacheSources are the conditions of quiescence that are about caches.
func (x *experiment) cacheSources() []observe.Source {
	var sources []observe.Source
	for _, cache := range x.scenario.System.Caches {
		if cache.Open == "" {
			continue
		}
		addr := x.cache(cache.Name).Addr()
		sources = append(sources, func(ctx context.Context) ([]string, error) {
			n, err := observe.CacheOpen(ctx, x.stack.ObserverDial, addr, cache.Open)
			if err != nil || n == 0 {
				return nil, err
			}
			return []string{fmt.Sprintf("%d changes of %s", n, cache.Name)}, nil
		})
	}
	return sources
}

// probeCaches reads what the caches hold, past all links.
func (x *experiment) probeCaches(ctx context.Context) ([]history.Probe, error) {
	var probes []history.Probe
	for _, cache := range x.scenario.System.Caches {
		counts, err := observe.CacheCounts(ctx, x.stack.ObserverDial, x.cache(cache.Name).Addr(), cache.Count, x.skus())
		if err != nil {
			return probes, fmt.Errorf("read counts of %s: %w", cache.Name, err)
		}
		probes = slices.Concat(probes, counts)
	}
	return probes, nil
}
