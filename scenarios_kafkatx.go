package ordeal

import "github.com/ordeal-chaos/ordeal/harness"

func kafkatxScenarios(system func(...Option) harness.System) []harness.Scenario {
	return nil
}
