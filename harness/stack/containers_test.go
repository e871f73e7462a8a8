package stack

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireContainersEnv makes a missing engine or image a failure instead of a skip.
const requireContainersEnv = "ORDEAL_REQUIRE_CONTAINERS"

// needEngine returns a client of the engine and the images to use, and skips the test where there are none.
func needEngine(t testing.TB) (*connection, images) {
	t.Helper()
	c, err := dialEngine(t.Context(), engineAddress())
	skipWithout(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	require.NoError(t, decideRyuk(t.Context())) // first, as in a run
	found, err := findImages(t.Context(), c, os.Getenv(KafkaImageEnv), os.Getenv(PostgresImageEnv), func(line string) { t.Log(line) })
	skipWithout(t, err)
	return c, found
}

func skipWithout(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv(requireContainersEnv) != "" {
		require.NoError(t, err)
	}
	t.Skip("no containers: ", err)
}

// newEngine returns a session that is closed at the end of the test, and leaves nothing.
func newEngine(t testing.TB) (*engine, images) {
	t.Helper()
	c, found := needEngine(t)
	g, err := openEngine(t.Context(), func(line string) { t.Log(line) })
	require.NoError(t, err)
	require.NoError(t, g.locate(t.Context()))
	t.Cleanup(func() {
		require.NoError(t, g.close())
		assert.Empty(t, leftOf(t, c, g.id))
		assert.NoFileExists(t, g.labels[lockLabel])
	})
	return g, found
}

// leftOf names all that the engine has of the session.
func leftOf(t testing.TB, c client.APIClient, id string) (names []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	mine := make(client.Filters).Add("label", sessionLabel+"="+id)
	containers, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: mine})
	require.NoError(t, err)
	for _, c := range containers.Items {
		names = append(names, c.Names...)
	}
	networks, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: mine})
	require.NoError(t, err)
	for _, n := range networks.Items {
		names = append(names, n.Name)
	}
	volumes, err := c.VolumeList(ctx, client.VolumeListOptions{Filters: mine})
	require.NoError(t, err)
	for _, v := range volumes.Items {
		names = append(names, v.Name)
	}
	return names
}
