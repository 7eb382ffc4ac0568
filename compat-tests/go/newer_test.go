package compat

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

func TestContainerGoesAfterItsLastChild(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	expectEqual(t, "path", must(t)(c.CreateContainer(path+"/c", []byte("data"), zk.FlagContainer, everyone)),
		path+"/c")
	data, stat := get(t, c, path+"/c")
	expectEqual(t, "data", data, "data")
	expectEqual(t, "owner", stat.EphemeralOwner, int64(0))
	create(t, c, path+"/c/child", "", 0)
	gone := watchData(t, c, path+"/c")
	expectSilence(t, gone)
	remove(t, c, path+"/c/child")
	expectEvent(t, gone, zk.EventNodeDeleted, path+"/c")
}

func TestContainerFlagOfAPlainCreateMakesAPlainNode(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	create(t, c, path+"/n", "", zk.FlagContainer)
	create(t, c, path+"/n/child", "", 0)
	remove(t, c, path+"/n/child")
	must(t)(c.CreateContainer(path+"/c", nil, zk.FlagContainer, everyone))
	create(t, c, path+"/c/child", "", 0)
	gone := watchData(t, c, path+"/c")
	remove(t, c, path+"/c/child")
	expectEvent(t, gone, zk.EventNodeDeleted, path+"/c")
	expectEqual(t, "plain node", exists(t, c, path+"/n"), true)
}

func TestTTLNodeGoesWhenItsTimeIsOver(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	ttl := 1500 * time.Millisecond
	start := time.Now()
	must(t)(c.CreateTTL(path+"/t", []byte("data"), zk.FlagTTL, everyone, ttl))
	name := must(t)(c.CreateTTL(path+"/s-", nil, zk.FlagPersistentSequentialWithTTL, everyone, time.Hour))
	expectEqual(t, "sequential", name, path+"/s-0000000001")
	must(t)(c.CreateTTL(path+"/parent", nil, zk.FlagTTL, everyone, ttl))
	create(t, c, path+"/parent/child", "", 0)
	_, stat := get(t, c, path+"/t")
	expectEqual(t, "owner", stat.EphemeralOwner, int64(0))

	gone := watchData(t, c, path+"/t")
	expectEvent(t, gone, zk.EventNodeDeleted, path+"/t")
	if lived := time.Since(start); lived < ttl {
		t.Errorf("it lived for %v only", lived)
	}
	expectList(t, "what stays", children(t, c, path), "parent", "s-0000000001")
}

func TestTTLOutOfRange(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	for _, ttl := range []time.Duration{0, -time.Second, (1 << 40) * time.Millisecond} {
		_, err := c.CreateTTL(path+"/t", nil, zk.FlagTTL, everyone, ttl)
		expectError(t, fmt.Sprintf("time to live %v", ttl), err, zk.ErrBadArguments)
	}
	must(t)(c.CreateTTL(path+"/t", nil, zk.FlagTTL, everyone, (1<<40-1)*time.Millisecond))
}

func TestProtectedCreateIsFoundByItsPrefix(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	name, err := c.CreateProtectedEphemeralSequential(path+"/p-", nil, everyone)
	expectError(t, "create", err, nil)
	expectList(t, "children", children(t, c, path), name[len(path)+1:])
	expectEqual(t, "its suffix", name[len(name)-len("-p-0000000000"):], "-p-0000000000")
}
