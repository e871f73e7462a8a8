package ordeal

import "github.com/ordeal-chaos/ordeal/harness"

func paymentScenarios(system func(...Option) harness.System) []harness.Scenario {
	return nil
}
