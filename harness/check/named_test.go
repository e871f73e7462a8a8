package check

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

func TestNamedSelectsInTheOrderGiven(t *testing.T) {
	selected, unknown := Named([]string{"converges", "no-such", "stock-conserved"})
	require.Equal(t, []string{"no-such"}, unknown)
	require.Len(t, selected, 2)
	require.Equal(t, "converges", selected[0].Name)
	require.Equal(t, "stock-conserved", selected[1].Name)

	var all []string
	for _, guarantee := range All() {
		all = append(all, guarantee.Name)
	}
	selected, unknown = Named(all)
	require.Len(t, selected, len(All()), "a name is there twice")
	require.Empty(t, unknown)
}

// A saved run is judged again by what it was judged by.
func TestJudgeFileFollowsTheHeader(t *testing.T) {
	save := func(events []history.Event, guarantees ...string) string {
		path := filepath.Join(t.TempDir(), "history.jsonl")
		recorder, err := history.Create(path, history.Header{Guarantees: guarantees})
		require.NoError(t, err)
		for _, event := range events {
			recorder.Append(event)
		}
		require.NoError(t, recorder.Close())
		return path
	}
	judged := func(path string, guarantees []Guarantee) (Judgement, []string) {
		_, judgement, err := JudgeFile(path, guarantees)
		require.NoError(t, err)
		var by []string
		for _, result := range judgement.Results {
			if result.ID != carriedOut.ID {
				by = append(by, result.Name)
			}
		}
		return judgement, by
	}
	oversold := bugs()[0].history() // breaks stock-never-negative

	judgement, by := judged(save(oversold, "per-key-order", "converges"), nil)
	require.Equal(t, []string{"per-key-order", "converges"}, by)
	require.Equal(t, Pass, judgement.Verdict, "%v", judgement.Reasons)

	judgement, by = judged(save(oversold), nil)
	require.Len(t, by, len(OrderAndStock))
	require.Equal(t, Fail, judgement.Verdict)

	judgement, by = judged(save(oversold, "per-key-order"), []Guarantee{stockNeverNegative})
	require.Equal(t, []string{"stock-never-negative"}, by)
	require.Equal(t, Fail, judgement.Verdict)

	judgement, by = judged(save(oversold, "per-key-order", "my-own"), nil)
	require.Equal(t, []string{"per-key-order"}, by)
	require.Equal(t, Unknown, judgement.Verdict)
	require.Contains(t, judgement.Reasons[0], "my-own")

	judgement, _ = judged(save(oversold, "stock-never-negative", "my-own"), nil)
	require.Equal(t, Fail, judgement.Verdict, "a violation is certain whatever was not judged")
}

func TestWordsAgreeWithTheirNumber(t *testing.T) {
	require.Equal(t, "1 record", plural(1, "record", "records"))
	require.Equal(t, "0 records", plural(0, "record", "records"))
	require.Equal(t, "2 records", plural(int64(2), "record", "records"))
	require.Empty(t, likewise(0, "commit", "commits"))
	require.Equal(t, "; 1 later commit likewise", likewise(1, "commit", "commits"))
}
