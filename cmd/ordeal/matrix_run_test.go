package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/matrix"
)

func TestRecorded(t *testing.T) {
	t.Parallel()
	crashed := check.Judgement{Verdict: check.Fail, Results: []check.Result{
		{Name: "services-stay-up", Verdict: check.Fail, Anomalies: []check.Anomaly{{Name: check.ServiceCrashed}}},
		{Name: "no-lost-event", Verdict: check.Pass, Examined: 3},
		{Name: "orders-end", Verdict: check.Unknown},
		{Name: "dead-letters-complete", Verdict: check.Pass, Skipped: true},
	}}
	job := matrix.Job{Design: "sound", Scenario: "calm", Repeat: 1, Seed: 8}
	for name, c := range map[string]struct {
		result  harness.Result
		verdict check.Verdict
		names   []string
		reason  string
	}{
		"broke": {harness.Result{Verdict: check.Fail, Judgement: crashed}, check.Fail, []string{check.ServiceCrashed}, ""},
		"broke before the harness did": {
			harness.Result{Verdict: check.Fail, Judgement: crashed, Error: errors.New("drain")}, check.Fail, []string{check.ServiceCrashed}, "",
		},
		"never started": {
			harness.Result{Verdict: check.Fail, Judgement: crashed, Error: fmt.Errorf("%w: %w: start order\nits log", harness.ErrStack, harness.ErrService)},
			check.Unknown, []string{}, "stack: system: start order …",
		},
		"passed, and cut short": {harness.Result{Verdict: check.Pass, Error: errors.New("drain")}, check.Unknown, []string{}, "drain"},
		"unknown": {
			harness.Result{Judgement: check.Judgement{Reasons: []string{"no fault bit", "starved"}}}, check.Unknown, []string{}, "no fault bit; starved",
		},
		"held": {harness.Result{Verdict: check.Pass}, check.Pass, []string{}, ""},
	} {
		run := recorded(job, c.result)
		require.Equal(t, c.verdict, run.Verdict, name)
		require.Equal(t, c.names, run.Anomalies, name)
		require.Equal(t, c.reason, run.Reason, name)
	}
	run := recorded(job, harness.Result{Verdict: check.Fail, Judgement: crashed})
	require.Equal(t, [3][]string{{"no-lost-event"}, {"services-stay-up"}, {"orders-end"}}, [3][]string{run.Held, run.Broken, run.Unclear})
}

func TestRemaining(t *testing.T) {
	t.Parallel()
	require.Empty(t, remaining(time.Minute, 0, 3), "nothing to go by")
	require.Empty(t, remaining(time.Minute, 3, 3))
	require.Equal(t, ", about 2m0s left", remaining(time.Minute, 1, 3))
}
