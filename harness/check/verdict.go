package check

import "fmt"

// Verdict is the outcome of judging. Its zero value is Unknown, and Unknown is not success.
type Verdict int

// The verdicts. Merging several takes the worst: Fail over Unknown over Pass.
const (
	Unknown Verdict = iota
	Pass
	Fail
)

var verdictNames = [...]string{Unknown: "unknown", Pass: "pass", Fail: "fail"}

// String returns "unknown", "pass" or "fail".
func (v Verdict) String() string {
	if v < 0 || int(v) >= len(verdictNames) {
		return fmt.Sprintf("verdict(%d)", int(v))
	}
	return verdictNames[v]
}

// MarshalText implements [encoding.TextMarshaler], so that JSON shows the word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. A word that is no verdict is an error.
func (v *Verdict) UnmarshalText(text []byte) error {
	for verdict, name := range verdictNames {
		if name == string(text) {
			*v = Verdict(verdict)
			return nil
		}
	}
	return fmt.Errorf("parse verdict %q: not one of unknown, pass, fail", text)
}

// Worse merges two verdicts: Fail over Unknown over Pass.
func Worse(a, b Verdict) Verdict {
	switch {
	case a == Fail || b == Fail:
		return Fail
	case a == Unknown || b == Unknown:
		return Unknown
	default:
		return Pass
	}
}
