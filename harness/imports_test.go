package harness_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/ordeal-chaos/ordeal"

// mayKnow are the packages of this module that a room may depend on, directly or not. What is below a
// room belongs to it.
var mayKnow = map[string][]string{
	"harness/history":  {},
	"harness/loopback": {},
	"harness/wire":     {"harness/history"},
	"harness/check":    {"harness/history"},
	"harness/link":     {"harness/history", "harness/loopback", "harness/wire"},
	"harness/stack":    {"harness/history", "harness/loopback"},
	"harness/observe":  {"harness/history", "harness/loopback"},
	"harness/report":   {"harness/history", "harness/check"},
	"harness/price":    {},
	"harness/matrix":   {"harness/check", "harness/history", "harness/price"},
	"services":         {},
}

// TestImportDirections keeps the rooms of ARCHITECTURE.md apart: it looks at what every package
// depends on, tests left out.
func TestImportDirections(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}};{{join .Imports ","}};{{join .Deps ","}}`, module+"/...").Output()
	require.NoError(t, err)
	rooms := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), ";")
		require.Len(t, fields, 3, line)
		name := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/")
		imports, deps := strings.Split(fields[1], ","), strings.Split(fields[2], ",")

		for room, known := range mayKnow {
			if in(name, room) {
				rooms[room] = true
				assert.Empty(t, strangers(deps, append(known, room)), "%s may know of ours only %q", name, known)
			}
		}
		if in(name, "harness") {
			assert.Empty(t, among(deps, module+"/services", module+"/faults"), "%s knows one system or its faults", name)
		}
		if in(name, "faults") {
			assert.Empty(t, among(deps, module+"/services"), "%s knows the services", name)
		}
		assert.NotContains(t, imports, "testing", "%s is not a test", name)
		if in(name, "harness/check") || in(name, "harness/history") || in(name, "harness/wire") {
			assert.Empty(t, among(deps, "os/exec"), "%s is not pure", name)
		}
		if !in(name, "harness/link") {
			assert.Empty(t, among(imports, "github.com/Shopify/toxiproxy"), "%s goes round harness/link", name)
		}
		if !in(name, "harness/stack") {
			assert.Empty(t, among(imports, "github.com/testcontainers"), "%s goes round harness/stack", name)
		}
	}
	assert.Len(t, rooms, len(mayKnow), "a room is empty: its rule proves nothing")
}

// in says whether name is the package or below it.
func in(name, parent string) bool { return name == parent || strings.HasPrefix(name, parent+"/") }

// strangers returns the paths in this module that are none of the rooms and below none.
func strangers(paths, rooms []string) []string {
	var found []string
	for _, path := range among(paths, module) {
		path = strings.TrimPrefix(path, module+"/")
		if len(among([]string{path}, rooms...)) == 0 {
			found = append(found, path)
		}
	}
	return found
}

// among returns the paths that are one of the parents or below one.
func among(paths []string, parents ...string) []string {
	var found []string
	for _, path := range paths {
		for _, parent := range parents {
			if in(path, parent) {
				found = append(found, path)
			}
		}
	}
	return found
}
