// Package compat holds what the Go client has to find in a server.
//
// `run` compiles these tests twice: against the maintained client and, without newer_test.go, against
// the client that it was forked from.
package compat

import (
	"os"
	"os/exec"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

const (
	// patience bounds every wait for something that must happen.
	patience = 20 * time.Second
	// silence is how long a test listens for something that must not happen.
	silence = 300 * time.Millisecond
	// calm is a session time-out that no test outlives.
	calm = 30 * time.Second
	// brief is a session time-out for tests that let one expire.
	brief = 2500 * time.Millisecond

	frameBytesMax = 0xfffff
)

var everyone = zk.WorldACL(zk.PermAll)

func serverAddress() string { return "127.0.0.1:" + os.Getenv("COMPAT_PORT") }

// control stops or starts the server.
func control(t *testing.T, what string) {
	t.Helper()
	out, err := exec.Command(os.Getenv("COMPAT_CONTROL"), what, os.Getenv("COMPAT_DIR")).CombinedOutput()
	if err != nil {
		t.Fatalf("the server did not %s: %v\n%s", what, err, out)
	}
}

// client is a connection and every event it has seen, in order.
type client struct {
	*zk.Conn
	once   sync.Once
	mu     sync.Mutex
	events []zk.Event
}

// Close ends the session; the older client does not bear a second call.
func (c *client) Close() { c.once.Do(c.Conn.Close) }

type mute struct{}

func (mute) Printf(string, ...interface{}) {}

// connect opens a session and waits until it is there. The test's end closes it.
func connect(t *testing.T) *client { return connectTo(t, serverAddress(), calm) }

func connectTo(t *testing.T, address string, timeout time.Duration) *client {
	t.Helper()
	c := &client{}
	conn, _, err := zk.Connect([]string{address}, timeout, zk.WithEventCallback(c.note),
		zk.WithLogger(mute{}), zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	c.Conn = conn
	t.Cleanup(c.Close)
	c.await(t, zk.StateHasSession)
	return c
}

func (c *client) note(event zk.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, event)
}

// saw returns the node events so far, as "EventNodeCreated /path".
func (c *client) saw() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	saw := []string{}
	for _, event := range c.events {
		if event.Type > 0 {
			saw = append(saw, event.Type.String()+" "+event.Path)
		}
	}
	return saw
}

// changes returns how often the session has changed its state.
func (c *client) changes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	changes := 0
	for _, event := range c.events {
		if event.Type == zk.EventSession {
			changes++
		}
	}
	return changes
}

// forget drops the events so far.
func (c *client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = nil
}

// await waits until the session has reported the state, since the start or since `forget`.
func (c *client) await(t *testing.T, state zk.State) {
	t.Helper()
	eventually(t, "session state "+state.String(), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, event := range c.events {
			if event.Type == zk.EventSession && event.State == state {
				return true
			}
		}
		return false
	})
}

// home makes a node for this test to work under and returns its path.
func home(t *testing.T, c *client) string {
	t.Helper()
	path := "/" + t.Name()
	must(t)(c.Create(path, nil, 0, everyone))
	return path
}

// must returns a function that passes a value on and ends the test on an error.
func must(t *testing.T) func(value interface{}, err error) interface{} {
	t.Helper()
	return func(value interface{}, err error) interface{} {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// create makes a node and returns its name in full.
func create(t *testing.T, c *client, path, data string, flags int32) string {
	t.Helper()
	return must(t)(c.Create(path, []byte(data), flags, everyone)).(string)
}

func set(t *testing.T, c *client, path, data string, version int32) *zk.Stat {
	t.Helper()
	return must(t)(c.Set(path, []byte(data), version)).(*zk.Stat)
}

func get(t *testing.T, c *client, path string) (string, *zk.Stat) {
	t.Helper()
	data, stat, err := c.Get(path)
	if err != nil {
		t.Fatalf("get %s: %v", path, err)
	}
	return string(data), stat
}

func exists(t *testing.T, c *client, path string) bool {
	t.Helper()
	there, _, err := c.Exists(path)
	if err != nil {
		t.Fatalf("exists %s: %v", path, err)
	}
	return there
}

func remove(t *testing.T, c *client, path string) {
	t.Helper()
	if err := c.Delete(path, -1); err != nil {
		t.Fatalf("delete %s: %v", path, err)
	}
}

func children(t *testing.T, c *client, path string) []string {
	t.Helper()
	names, _, err := c.Children(path)
	if err != nil {
		t.Fatalf("children of %s: %v", path, err)
	}
	sort.Strings(names)
	return names
}

// watchData, watchChildren and watchExistence register a one-shot watch and return its channel.
func watchData(t *testing.T, c *client, path string) <-chan zk.Event {
	t.Helper()
	_, _, events, err := c.GetW(path)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func watchChildren(t *testing.T, c *client, path string) <-chan zk.Event {
	t.Helper()
	_, _, events, err := c.ChildrenW(path)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func watchExistence(t *testing.T, c *client, path string) <-chan zk.Event {
	t.Helper()
	_, _, events, err := c.ExistsW(path)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// expectEvent waits for the watch to fire as said.
func expectEvent(t *testing.T, events <-chan zk.Event, kind zk.EventType, path string) {
	t.Helper()
	select {
	case event := <-events:
		if event.Type != kind || event.Path != path || event.Err != nil {
			t.Fatalf("got %v %s (%v), expected %v %s", event.Type, event.Path, event.Err, kind, path)
		}
	case <-time.After(patience):
		t.Fatalf("no %v for %s", kind, path)
	}
}

func expectSilence(t *testing.T, events <-chan zk.Event) {
	t.Helper()
	select {
	case event := <-events:
		t.Fatalf("unexpected event %v %s (%v)", event.Type, event.Path, event.Err)
	case <-time.After(silence):
	}
}

func expectError(t *testing.T, what string, got, expected error) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %v, expected %v", what, got, expected)
	}
}

func expectEqual(t *testing.T, what string, got, expected interface{}) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %v, expected %v", what, got, expected)
	}
}

func expectList(t *testing.T, what string, got []string, expected ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(expected, "\n") {
		t.Errorf("%s: got %q, expected %q", what, got, expected)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}
