package services_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/services"
)

func TestFindDesign(t *testing.T) {
	sound, err := services.FindDesign("sound")
	require.NoError(t, err)
	assert.Equal(t, services.OutboxPolling, sound.Parts.Publishing)

	chosen, err := services.FindDesign("version-column+ack-record")
	require.NoError(t, err)
	assert.Equal(t, services.VersionColumn, chosen.Parts.Stock)
	assert.Equal(t, services.AckRecord, chosen.Parts.Ack)
	assert.Equal(t, services.OutboxPolling, chosen.Parts.Publishing, "not named: as in the sound design")

	for name, why := range map[string]string{
		"outbox-cursr":                         `did you mean "outbox-cursor"`,
		"version-column+nothing":               `unknown part "nothing"`,
		"version-column+select-for-update":     "both are about stock",
		"tcc-rest+no-payment":                  "contradict",
		"rollback-compensation+choreography":   "before the order",
		"single-writer+tcc-rest+payment":       "beside the single writer",
		"kafka-transaction+saga+payment":       "contradict",
		"kafka-transaction+direct-dead-letter": "contradict",
		"single-writer+redrive":                "writer's partition",
		"saga+payment+retry-topics":            "nobody consumes",
	} {
		_, err := services.FindDesign(name)
		assert.ErrorContains(t, err, why, name)
	}
}

func TestEveryDesignIsWhole(t *testing.T) {
	names := map[string]bool{}
	for _, design := range services.Designs() {
		assert.False(t, names[design.Name], "%s is listed twice", design.Name)
		names[design.Name] = true
		parts, err := services.ParseParts(design.Parts.String())
		require.NoError(t, err, design.Name)
		assert.Equal(t, design.Parts, parts, design.Name)
		for _, lacked := range design.Lacks {
			_, err := design.Remove(lacked)
			assert.ErrorContains(t, err, "has no guard", "%s: what it lacks cannot be removed", design.Name)
		}
	}
}

func TestRemove(t *testing.T) {
	sound, err := services.FindDesign("sound")
	require.NoError(t, err)
	_, err = sound.Remove("horizon")
	assert.ErrorContains(t, err, `design sound has no guard "horizon"`)
	cursor, err := services.FindDesign("outbox-cursor")
	require.NoError(t, err)
	without, err := cursor.Remove("horizon, inbox-dedup")
	require.NoError(t, err)
	assert.Equal(t, services.Without{"horizon", "inbox-dedup"}, without)
}
