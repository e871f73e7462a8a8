package check

import (
	"fmt"
	"slices"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// JudgeFile reads a history file and judges it. With guarantees nil it is judged by those that the
// header names, as the run was: a name that [All] does not have is a reason of the judgement,
// which is then at most unknown. A header that names none means [OrderAndStock]. The error is that of
// [history.Read], or says which event cannot be understood; the judgement is then unknown.
func JudgeFile(path string, guarantees []Guarantee) (*View, Judgement, error) {
	builder := NewBuilder()
	header, err := history.Read(path, builder.Add)
	if err != nil {
		return nil, Judgement{}, fmt.Errorf("judge history: %w", err)
	}
	view := builder.View()
	view.Header = header
	if guarantees != nil {
		return view, Judge(view, guarantees), nil
	}
	if len(header.Guarantees) == 0 {
		return view, Judge(view, OrderAndStock), nil
	}
	guarantees, strange := Named(header.Guarantees)
	judgement := Judge(view, guarantees)
	for _, name := range strange {
		judgement.Verdict = Worse(judgement.Verdict, Unknown)
		judgement.Reasons = append(judgement.Reasons, name+": the run was judged by it, but it is not known here")
	}
	return view, judgement, nil
}

// Named selects guarantees of [All] by name, in the order given. The second result holds
// the names that are none of them.
func Named(names []string) (guarantees []Guarantee, unknown []string) {
	known := All()
	for _, name := range names {
		i := slices.IndexFunc(known, func(g Guarantee) bool { return g.Name == name })
		if i < 0 {
			unknown = append(unknown, name)
			continue
		}
		guarantees = append(guarantees, known[i])
	}
	return guarantees, unknown
}

// Only selects guarantees of [All] by name, for a scenario. A name that is none of them becomes
// a guarantee without a check, which no scenario accepts.
func Only(names ...string) []Guarantee {
	guarantees, unknown := Named(names)
	for _, name := range unknown {
		guarantees = append(guarantees, Guarantee{Name: name})
	}
	return guarantees
}

// Judge applies the evidence conditions and the guarantees to a view. The header's Exercises names
// those that must have examined something; any other that examined nothing is skipped.
func Judge(view *View, guarantees []Guarantee) Judgement {
	judgement := Judgement{Verdict: Pass}
	required := view.Header.Exercises
	for _, condition := range Evidence {
		if condition.onDemand() && !slices.Contains(required, condition.Name) {
			continue
		}
		judgement.add(judgeOne(view, condition, required))
	}
	complete, _ := judgement.Result(completeObservation.Name)
	for _, guarantee := range guarantees {
		result := judgeOne(view, guarantee, required)
		if complete.Verdict != Pass {
			result.suspect(complete.Reason)
		}
		judgement.add(result)
	}
	for _, name := range required {
		if _, ok := judgement.Result(name); !ok {
			judgement.Verdict = Worse(judgement.Verdict, Unknown)
			judgement.Reasons = append(judgement.Reasons, fmt.Sprintf("%s: the scenario must exercise it, but it was not judged", name))
		}
	}
	return judgement
}

func (j *Judgement) add(result Result) {
	j.Results = append(j.Results, result)
	if result.Skipped {
		return
	}
	j.Verdict = Worse(j.Verdict, result.Verdict)
	if result.Reason != "" {
		j.Reasons = append(j.Reasons, result.Name+": "+result.Reason)
	}
}

// judgeOne runs one check. A check that panics proves nothing, so its verdict is unknown.
func judgeOne(view *View, guarantee Guarantee, required []string) (result Result) {
	result = Result{
		ID: guarantee.ID, Name: guarantee.Name, Statement: guarantee.Statement,
		Required: slices.Contains(required, guarantee.Name),
	}
	defer func() {
		if cause := recover(); cause != nil {
			result.Verdict, result.Reason = Unknown, fmt.Sprintf("the checker crashed: %v", cause)
		}
	}()
	finding := guarantee.Check(view)
	result.Examined, result.Anomalies, result.Facts = finding.Examined, finding.Anomalies, finding.Facts
	for i := range result.Anomalies {
		result.Anomalies[i].Guarantee = guarantee.Name
		result.Anomalies[i].Events = proof(result.Anomalies[i].Events)
	}
	result.Reason = finding.Unknown
	switch {
	case len(finding.Anomalies) > 0:
		result.Verdict = Fail
	case finding.Unknown != "":
		result.Verdict = Unknown
	case finding.Examined > 0:
		result.Verdict = Pass
	case result.Required:
		result.Reason = "the scenario must exercise it, but there was nothing to examine"
	default:
		result.Skipped, result.Reason = true, "not exercised"
	}
	return result
}

// suspect turns a failure that only rests on absence into unknown: what was not observed may exist.
func (r *Result) suspect(reason string) {
	if r.Verdict != Fail {
		return
	}
	for _, anomaly := range r.Anomalies {
		if !restsOnAbsence[anomaly.Name] {
			return
		}
	}
	r.Verdict = Unknown
	r.Reason = "suspected only, because the observation is not proven complete: " + reason
}

// proof sorts event numbers and drops repeated and unknown ones.
func proof(events []int64) []int64 {
	events = slices.DeleteFunc(events, func(seq int64) bool { return seq == 0 })
	slices.Sort(events)
	return slices.Compact(events)
}
