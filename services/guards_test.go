package services_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/services"
)

func TestParseGuards(t *testing.T) {
	without, err := services.ParseGuards(" sweeper, inbox-dedup,,sweeper ")
	require.NoError(t, err)
	assert.Equal(t, services.Without{"inbox-dedup", "sweeper"}, without)
	assert.True(t, without.Lacks(services.Sweeper))
	assert.False(t, without.Lacks(services.Outbox))
	again, err := services.ParseGuards(without.String())
	require.NoError(t, err)
	assert.Equal(t, without, again)

	none, err := services.ParseGuards("")
	require.NoError(t, err)
	assert.Empty(t, none)

	for name, nearest := range map[string]string{"sweper": "sweeper", "Outbox": "outbox", "inbox-d": "inbox-dedup", "cas": "cas-transition", "dead-leter": "dead-letter"} {
		_, err = services.ParseGuards("sweeper," + name)
		assert.ErrorContains(t, err, `"`+name+`"`)
		assert.ErrorContains(t, err, `"`+nearest+`"`)
	}
	_, err = services.ParseGuards("outbox,after-commit-outbox")
	assert.ErrorContains(t, err, "contradict")
}

func TestEveryGuardIsDocumented(t *testing.T) {
	guards := services.Guards()
	assert.NotEmpty(t, guards)
	for _, guard := range guards {
		assert.Regexp(t, `^[A-Z].*; without .*\.$`, guard.Protects, guard.Name)
		_, err := services.ParseGuards(guard.Name)
		assert.NoError(t, err)
	}
}
