package harness_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/ordeal-chaos/ordeal"

// TestImportDirections keeps the rooms of ARCHITECTURE.md apart: it looks at what every package
// depends on, tests left out.
func TestImportDirections(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports ","}} {{join .Deps ","}}`, module+"/...").Output()
	require.NoError(t, err)
	packages := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue // a package that imports nothing
		}
		packages++
		name := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/")
		imports, deps := strings.Split(fields[1], ","), strings.Split(fields[2], ",")

		switch {
		case in(name, "services"):
			assert.Empty(t, among(deps, module+"/harness", module+"/faults"), "%s knows of the harness", name)
		case in(name, "faults"):
			assert.Empty(t, among(deps, module+"/services"), "%s knows the services", name)
		}
		if in(name, "harness/check") || in(name, "harness/history") || in(name, "harness/wire") {
			assert.Empty(t, among(deps, module+"/harness/stack", module+"/harness/link", "os/exec"), "%s is not pure", name)
		}
		if in(name, "harness") {
			assert.Empty(t, among(deps, module+"/services", module+"/faults"), "%s knows one system or its faults", name)
		}
		if !in(name, "harness/link") {
			assert.Empty(t, among(imports, "github.com/Shopify/toxiproxy"), "%s goes round harness/link", name)
		}
		if !in(name, "harness/stack") {
			assert.Empty(t, among(imports, "github.com/testcontainers"), "%s goes round harness/stack", name)
		}
		if !in(name, "harness/conformance") {
			assert.NotContains(t, imports, "testing", "%s is not a test", name)
		}
	}
	assert.Greater(t, packages, 10, "go list saw too few packages to prove anything")
}

// in says whether name is the package or below it.
func in(name, parent string) bool { return name == parent || strings.HasPrefix(name, parent+"/") }

// among returns the paths that are one of the parents or below one.
func among(paths []string, parents ...string) []string {
	var found []string
	for _, path := range paths {
		for _, parent := range parents {
			if in(path, parent) || strings.HasPrefix(path, parent+"/") {
				found = append(found, path)
			}
		}
	}
	return found
}
