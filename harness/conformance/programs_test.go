package conformance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// javaConnects is what the Java client logs of each connection, at level debug.
var javaConnects = regexp.MustCompile(`NetworkClient - .*Initiating connection to node (\S+) \(id: `)

func startJava(t *testing.T, bootstrap []string) client {
	need(t, "a JDK 17 or later, and Maven", "java", "javac", "mvn")
	source := filepath.Join("testdata", "java")
	dir := cached(t, "java", fingerprint(t, source, "java", "-version"), func(dir string) {
		require.NoError(t, os.CopyFS(dir, os.DirFS(source)))
		runTool(t, dir, "mvn", "-q", "-B", "process-classes")
	})
	classes := filepath.Join(dir, "target", "classes") + string(filepath.ListSeparator) +
		filepath.Join(dir, "target", "dependency", "*")
	return startProgram(t, javaConnects, "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.NetworkClient=debug",
		"-cp", classes, "Client", strings.Join(bootstrap, ","))
}

// rdkafkaConnects is what librdkafka logs of each connection, with debug=broker.
var rdkafkaConnects = regexp.MustCompile(`\|CONNECT\|.*Connecting to ipv[46]#(\S+) `)

func startPython(t *testing.T, bootstrap []string) client {
	need(t, "Python 3.9 or later with its venv module", "python3")
	source := filepath.Join("testdata", "python")
	dir := cached(t, "python", fingerprint(t, filepath.Join(source, "requirements.txt"), "python3", "--version"), func(dir string) {
		runTool(t, dir, "python3", "-m", "venv", "venv")
		runTool(t, dir, filepath.Join("venv", "bin", "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check",
			"--only-binary", ":all:", "-r", absolute(t, filepath.Join(source, "requirements.txt")))
	})
	return startProgram(t, rdkafkaConnects, filepath.Join(dir, "venv", "bin", "python"), filepath.Join(source, "client.py"),
		strings.Join(bootstrap, ","))
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	return path
}

// fingerprint of a file, or of all files in a folder, and of the version of the tool that will use them.
func fingerprint(t *testing.T, path string, version ...string) string {
	t.Helper()
	sum := sha256.New()
	tool, err := exec.Command(version[0], version[1:]...).CombinedOutput()
	require.NoError(t, err, "%s", tool)
	sum.Write(tool)
	require.NoError(t, filepath.WalkDir(path, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		sum.Write(content)
		return err
	}))
	return hex.EncodeToString(sum.Sum(nil))[:16]
}
