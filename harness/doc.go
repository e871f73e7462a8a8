// Package harness owns the vocabulary of an experiment and the procedure that runs it: a [Scenario] is
// a system, a workload and a schedule of faults; [Run] carries it out and returns a verdict that was
// judged from the saved history alone.
//
// Read scenario.go for the words, run.go for the procedure.
package harness
