package compat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

func TestHandshakeWithoutReadOnlyFlagIsAnsweredWithoutIt(t *testing.T) {
	l := newLink(t)
	c := connectTo(t, l.Address(), calm)

	requests, replies := l.Frames()
	expectEqual(t, "bytes of the request", len(requests[0]), 44)
	expectEqual(t, "bytes of the answer", len(replies[0]), 36)
	expectEqual(t, "protocol version", binary.BigEndian.Uint32(replies[0]), uint32(0))
	expectEqual(t, "session id", int64(binary.BigEndian.Uint64(replies[0][8:])), c.SessionID())
	expectEqual(t, "password bytes", binary.BigEndian.Uint32(replies[0][16:]), uint32(16))
	if bytes.Equal(replies[0][20:], make([]byte, 16)) || c.SessionID() == 0 {
		t.Error("the answer opens no session")
	}
}

func TestSessionTimeoutIsMovedIntoTheServersRange(t *testing.T) {
	for asked, expected := range map[time.Duration]uint32{
		100 * time.Millisecond: 1000,
		7 * time.Second:        7000,
		time.Hour:              30000,
	} {
		l := newLink(t)
		connectTo(t, l.Address(), asked)
		_, replies := l.Frames()
		expectEqual(t, "time-out for "+asked.String(), binary.BigEndian.Uint32(replies[0][4:]), expected)
	}
}

func TestCreateReadUpdateDelete(t *testing.T) {
	c := connect(t)
	path := home(t, c) + "/n"

	before := time.Now().Add(-time.Minute).UnixMilli()
	expectEqual(t, "created path", create(t, c, path, "one", 0), path)
	data, born := get(t, c, path)
	expectEqual(t, "data", data, "one")
	expectEqual(t, "mzxid", born.Mzxid, born.Czxid)
	expectEqual(t, "pzxid", born.Pzxid, born.Czxid)
	expectEqual(t, "mtime", born.Mtime, born.Ctime)
	expectEqual(t, "versions", fmt.Sprint(born.Version, born.Cversion, born.Aversion), "0 0 0")
	expectEqual(t, "owner", born.EphemeralOwner, int64(0))
	expectEqual(t, "length", born.DataLength, int32(3))
	expectEqual(t, "children", born.NumChildren, int32(0))
	if born.Czxid <= 0 || born.Ctime < before || born.Ctime > time.Now().Add(time.Minute).UnixMilli() {
		t.Errorf("czxid %d, ctime %d", born.Czxid, born.Ctime)
	}

	updated := set(t, c, path, "three", 0)
	expectEqual(t, "version", updated.Version, int32(1))
	expectEqual(t, "czxid", updated.Czxid, born.Czxid)
	expectEqual(t, "ctime", updated.Ctime, born.Ctime)
	expectEqual(t, "length", updated.DataLength, int32(5))
	expectEqual(t, "pzxid", updated.Pzxid, born.Pzxid)
	if updated.Mzxid <= born.Mzxid {
		t.Errorf("mzxid went from %d to %d", born.Mzxid, updated.Mzxid)
	}
	_, stat := get(t, c, path)
	expectEqual(t, "stat as read", *stat, *updated)
	there, stat, err := c.Exists(path)
	expectError(t, "exists", err, nil)
	expectEqual(t, "exists", there, true)
	expectEqual(t, "stat of exists", *stat, *updated)

	_, err = c.Set(path, nil, 0)
	expectError(t, "set with an old version", err, zk.ErrBadVersion)
	expectError(t, "delete with an old version", c.Delete(path, 0), zk.ErrBadVersion)
	expectError(t, "delete", c.Delete(path, 1), nil)
	expectEqual(t, "exists", exists(t, c, path), false)
}

func TestParentCountsItsChildren(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	_, empty := get(t, c, path)

	create(t, c, path+"/a", "", 0)
	create(t, c, path+"/b", "", 0)
	_, two := get(t, c, path)
	remove(t, c, path+"/a")
	set(t, c, path+"/b", "data of a child changes nothing here", -1)
	names, one, err := c.Children(path)
	expectError(t, "children", err, nil)

	expectList(t, "names", names, "b")
	expectEqual(t, "children of two", fmt.Sprint(two.NumChildren, two.Cversion), "2 2")
	expectEqual(t, "children of one", fmt.Sprint(one.NumChildren, one.Cversion), "1 3")
	expectEqual(t, "mzxid", one.Mzxid, empty.Mzxid)
	expectEqual(t, "version", one.Version, int32(0))
	if !(empty.Pzxid < two.Pzxid && two.Pzxid < one.Pzxid) {
		t.Errorf("pzxids do not rise: %d %d %d", empty.Pzxid, two.Pzxid, one.Pzxid)
	}
}

func TestNullAndEmptyData(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	must(t)(c.Create(path+"/null", nil, 0, everyone))
	must(t)(c.Create(path+"/empty", []byte{}, 0, everyone))

	null, stat, err := c.Get(path + "/null")
	expectError(t, "null", err, nil)
	expectEqual(t, "null is null", null == nil, true)
	expectEqual(t, "length of null", stat.DataLength, int32(0))
	empty, stat, err := c.Get(path + "/empty")
	expectError(t, "empty", err, nil)
	expectEqual(t, "empty is empty", empty != nil && len(empty) == 0, true)
	expectEqual(t, "length of empty", stat.DataLength, int32(0))
}

func TestSequentialNamesCountEveryChildEverCreated(t *testing.T) {
	c := connect(t)
	path := home(t, c)

	expectEqual(t, "first", create(t, c, path+"/s-", "", zk.FlagSequence), path+"/s-0000000000")
	create(t, c, path+"/plain", "", 0)
	remove(t, c, path+"/plain")
	_, err := c.Create(path+"/s-0000000000", nil, 0, everyone)
	expectError(t, "a refused create counts for nothing", err, zk.ErrNodeExists)
	expectEqual(t, "third", create(t, c, path+"/s-", "", zk.FlagSequence), path+"/s-0000000002")
	expectEqual(t, "only the number", create(t, c, path+"/", "", zk.FlagSequence), path+"/0000000003")
	expectEqual(t, "ephemeral", create(t, c, path+"/e-", "", zk.FlagSequence|zk.FlagEphemeral),
		path+"/e-0000000004")
	_, stat := get(t, c, path+"/e-0000000004")
	expectEqual(t, "its owner", stat.EphemeralOwner, c.SessionID())
	_, stat = get(t, c, path+"/0000000003")
	expectEqual(t, "owner of a persistent one", stat.EphemeralOwner, int64(0))
}

func TestEphemeralLivesAsLongAsItsSession(t *testing.T) {
	owner, witness := connect(t), connect(t)
	path := home(t, witness)
	create(t, owner, path+"/e", "mine", zk.FlagEphemeral)

	_, stat := get(t, witness, path+"/e")
	expectEqual(t, "owner", stat.EphemeralOwner, owner.SessionID())
	_, err := witness.Create(path+"/e/child", nil, 0, everyone)
	expectError(t, "child of an ephemeral", err, zk.ErrNoChildrenForEphemerals)

	deleted := watchData(t, witness, path+"/e")
	changed := watchChildren(t, witness, path)
	owner.Close()
	expectEvent(t, deleted, zk.EventNodeDeleted, path+"/e")
	expectEvent(t, changed, zk.EventNodeChildrenChanged, path)
	expectList(t, "children", children(t, witness, path))
}

func TestErrorCodes(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	create(t, c, path+"/child", "", 0)

	_, _, err := c.Get(path + "/none")
	expectError(t, "get", err, zk.ErrNoNode)
	_, err = c.Set(path+"/none", nil, -1)
	expectError(t, "set", err, zk.ErrNoNode)
	_, _, err = c.Children(path + "/none")
	expectError(t, "children", err, zk.ErrNoNode)
	_, _, err = c.GetACL(path + "/none")
	expectError(t, "get acl", err, zk.ErrNoNode)
	_, err = c.SetACL(path+"/none", everyone, -1)
	expectError(t, "set acl", err, zk.ErrNoNode)
	expectError(t, "delete", c.Delete(path+"/none", -1), zk.ErrNoNode)
	_, err = c.Create(path+"/none/child", nil, 0, everyone)
	expectError(t, "create without a parent", err, zk.ErrNoNode)
	_, err = c.Create(path, nil, 0, everyone)
	expectError(t, "create again", err, zk.ErrNodeExists)
	_, err = c.Create("/", nil, 0, everyone)
	expectError(t, "create the root", err, zk.ErrNodeExists)
	expectError(t, "delete a parent", c.Delete(path, -1), zk.ErrNotEmpty)
	expectError(t, "delete a system node", c.Delete("/zookeeper/quota", -1), zk.ErrBadArguments)
	_, err = c.Create(path+"/open", nil, 0, nil)
	expectError(t, "create without an ACL", err, zk.ErrInvalidACL)
	_, err = c.IncrementalReconfig(nil, []string{"1"}, -1)
	expectError(t, "reconfig while it is off", err, zk.ErrReconfigDisabled)
}

func TestWatchesFireOnceAndTellWhatHappened(t *testing.T) {
	c, other := connect(t), connect(t)
	path := home(t, c)

	created := watchExistence(t, c, path+"/n")
	changed := watchChildren(t, c, path)
	create(t, other, path+"/n", "", 0)
	expectEvent(t, created, zk.EventNodeCreated, path+"/n")
	expectEvent(t, changed, zk.EventNodeChildrenChanged, path)

	data, existence := watchData(t, c, path+"/n"), watchExistence(t, c, path+"/n")
	set(t, other, path+"/n", "", -1)
	expectEvent(t, data, zk.EventNodeDataChanged, path+"/n")
	expectEvent(t, existence, zk.EventNodeDataChanged, path+"/n")

	c.forget()
	set(t, other, path+"/n", "nobody watches any more", -1)
	must(t)(other.SetACL(path+"/n", everyone, -1))
	data, own, changed := watchData(t, c, path+"/n"), watchChildren(t, c, path+"/n"), watchChildren(t, c, path)
	must(t)(other.SetACL(path+"/n", everyone, -1))
	expectSilence(t, data)
	remove(t, other, path+"/n")
	expectEvent(t, data, zk.EventNodeDeleted, path+"/n")
	expectEvent(t, own, zk.EventNodeDeleted, path+"/n")
	expectEvent(t, changed, zk.EventNodeChildrenChanged, path)
	expectList(t, "events on the wire", c.saw(), "EventNodeDeleted "+path+"/n",
		"EventNodeChildrenChanged "+path)
}

func TestNotificationComesBeforeTheWritesReply(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	create(t, c, path+"/n", "", 0)

	for i := 0; i < 50; i++ {
		watchData(t, c, path+"/n")
		c.forget()
		set(t, c, path+"/n", strconv.Itoa(i), int32(i))
		// The client notes events and replies in the order in which they arrive.
		expectList(t, "events at the time of the reply", c.saw(), "EventNodeDataChanged "+path+"/n")
	}
	watchExistence(t, c, path+"/m")
	watchChildren(t, c, path)
	c.forget()
	create(t, c, path+"/m", "", 0)
	expectList(t, "events of a create", c.saw(), "EventNodeCreated "+path+"/m",
		"EventNodeChildrenChanged "+path)
}

func TestReaderHearsOfAChangeBeforeItSeesIt(t *testing.T) {
	reader, writer := connect(t), connect(t)
	path := home(t, writer)
	create(t, writer, path+"/n", "0", 0)

	for i := 1; i <= 50; i++ {
		watchData(t, reader, path+"/n")
		reader.forget()
		set(t, writer, path+"/n", strconv.Itoa(i), -1)
		data, _ := get(t, reader, path+"/n")
		expectEqual(t, "data", data, strconv.Itoa(i))
		expectList(t, "events before that reply", reader.saw(), "EventNodeDataChanged "+path+"/n")
	}
}

func TestMultiDoesAll(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	create(t, c, path+"/old", "", 0)

	results, err := c.Multi(
		&zk.CreateRequest{Path: path + "/new", Data: []byte("1"), Acl: everyone},
		&zk.CreateRequest{Path: path + "/s-", Acl: everyone, Flags: zk.FlagSequence},
		&zk.SetDataRequest{Path: path + "/new", Data: []byte("two"), Version: 0},
		&zk.CheckVersionRequest{Path: path + "/new", Version: 1},
		&zk.DeleteRequest{Path: path + "/old", Version: 0},
	)
	if err != nil || len(results) != 5 {
		t.Fatalf("%v, %d results", err, len(results))
	}

	expectEqual(t, "first path", results[0].String, path+"/new")
	expectEqual(t, "second path", results[1].String, path+"/s-0000000002")
	expectEqual(t, "version", results[2].Stat.Version, int32(1))
	for i, result := range results {
		expectError(t, fmt.Sprintf("result %d", i), result.Error, nil)
	}
	_, stat := get(t, c, path+"/new")
	expectEqual(t, "one zxid for all", stat.Czxid, stat.Mzxid)
	expectEqual(t, "stat", *stat, *results[2].Stat)
	_, parent := get(t, c, path)
	expectEqual(t, "the parent's too", parent.Pzxid, stat.Czxid)
	expectList(t, "children", children(t, c, path), "new", "s-0000000002")
}

func TestMultiDoesNothingIfOneFails(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	_, before := get(t, c, path)
	watch := watchChildren(t, c, path)

	results, err := c.Multi(
		&zk.CreateRequest{Path: path + "/s-", Acl: everyone, Flags: zk.FlagSequence},
		&zk.SetDataRequest{Path: path, Data: []byte("changed"), Version: -1},
		&zk.CheckVersionRequest{Path: path, Version: 9},
		&zk.DeleteRequest{Path: path + "/never", Version: -1},
	)
	expectError(t, "multi", err, zk.ErrBadVersion)
	if len(results) != 4 {
		t.Fatalf("%d results", len(results))
	}
	expectError(t, "first", results[0].Error, nil)
	expectError(t, "second", results[1].Error, nil)
	expectError(t, "the failed one", results[2].Error, zk.ErrBadVersion)
	expectEqual(t, "after it", fmt.Sprint(results[3].Error), "unknown error: -2")

	expectSilence(t, watch)
	data, after := get(t, c, path)
	expectEqual(t, "data", data, "")
	expectEqual(t, "stat", *after, *before)
	expectEqual(t, "no number is lost", create(t, c, path+"/s-", "", zk.FlagSequence), path+"/s-0000000000")
}

func TestDigestACL(t *testing.T) {
	owner, stranger := connect(t), connect(t)
	path := home(t, owner) + "/secret"
	must(t)(nil, owner.AddAuth("digest", []byte("ann:pw")))
	must(t)(owner.Create(path, []byte("data"), 0, zk.DigestACL(zk.PermAll, "ann", "pw")))

	acl, _, err := owner.GetACL(path)
	expectError(t, "get acl", err, nil)
	expectEqual(t, "acl", fmt.Sprint(acl), fmt.Sprint(zk.DigestACL(zk.PermAll, "ann", "pw")))

	refused := func(who *client) {
		t.Helper()
		_, _, err := who.Get(path)
		expectError(t, "get", err, zk.ErrNoAuth)
		_, err = who.Set(path, nil, -1)
		expectError(t, "set", err, zk.ErrNoAuth)
		_, _, err = who.Children(path)
		expectError(t, "children", err, zk.ErrNoAuth)
		_, _, err = who.Exists(path)
		expectError(t, "exists", err, zk.ErrNoAuth)
		_, err = who.Create(path+"/child", nil, 0, everyone)
		expectError(t, "create", err, zk.ErrNoAuth)
		_, _, err = who.GetACL(path)
		expectError(t, "get acl", err, zk.ErrNoAuth)
		_, err = who.SetACL(path, everyone, -1)
		expectError(t, "set acl", err, zk.ErrNoAuth)
	}
	refused(stranger)
	must(t)(nil, stranger.AddAuth("digest", []byte("ann:wrong")))
	refused(stranger)
	must(t)(nil, stranger.AddAuth("digest", []byte("ann:pw")))
	data, _ := get(t, stranger, path)
	expectEqual(t, "data", data, "data")

	// What a node's own ACL says of deletion concerns its children.
	create(t, owner, path+"/child", "", 0)
	third := connect(t)
	expectError(t, "delete a child", third.Delete(path+"/child", -1), zk.ErrNoAuth)
	remove(t, stranger, path+"/child")
	remove(t, third, path)
}

func TestAuthSchemeStandsForTheCreatorsIdentities(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	_, err := c.Create(path+"/early", nil, 0, zk.AuthACL(zk.PermAll))
	expectError(t, "without an identity", err, zk.ErrInvalidACL)
	must(t)(nil, c.AddAuth("digest", []byte("bob:pw")))
	must(t)(c.Create(path+"/n", nil, 0, zk.AuthACL(zk.PermRead|zk.PermAdmin)))

	acl, _, err := c.GetACL(path + "/n")
	expectError(t, "get acl", err, nil)
	expectEqual(t, "acl", fmt.Sprint(acl), fmt.Sprint(zk.DigestACL(zk.PermRead|zk.PermAdmin, "bob", "pw")))
	_, err = c.Set(path+"/n", nil, -1)
	expectError(t, "set without the permission", err, zk.ErrNoAuth)
}

func TestSetACLCountsItsOwnVersion(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	_, before := get(t, c, path)

	stat := must(t)(c.SetACL(path, zk.WorldACL(zk.PermRead|zk.PermAdmin), 0)).(*zk.Stat)
	expectEqual(t, "aversion", stat.Aversion, int32(1))
	expectEqual(t, "version", stat.Version, int32(0))
	expectEqual(t, "mzxid", stat.Mzxid, before.Mzxid)
	_, err := c.SetACL(path, everyone, 0)
	expectError(t, "an old version", err, zk.ErrBadVersion)
	_, err = c.Set(path, nil, -1)
	expectError(t, "set", err, zk.ErrNoAuth)
	_, err = c.SetACL(path, []zk.ACL{{Perms: zk.PermAll, Scheme: "nonsense", ID: "x"}}, -1)
	expectError(t, "an unknown scheme", err, zk.ErrInvalidACL)
	must(t)(c.SetACL(path, everyone, 1))
	set(t, c, path, "again", -1)
}

// biggestData is the most that one setData of the path can carry.
func biggestData(path string) int {
	return frameBytesMax - (8 + 4 + len(path) + 4 + 4)
}

func TestValueOfTheLargestFrame(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1+biggestData(path)/16)[:biggestData(path)]

	stat := must(t)(c.Set(path, big, -1)).(*zk.Stat)
	expectEqual(t, "length", int(stat.DataLength), len(big))
	data, _, err := c.Get(path)
	expectError(t, "get", err, nil)
	expectEqual(t, "data is what was written", bytes.Equal(data, big), true)
	for _, bytesLong := range []int{1, 1 << 10, 64 << 10, 1000 << 10} {
		must(t)(c.Set(path, big[:bytesLong], -1))
		data, _, err = c.Get(path)
		expectError(t, "get", err, nil)
		expectEqual(t, "data is what was written", bytes.Equal(data, big[:bytesLong]), true)
	}
}

func TestFrameAboveTheLimitCostsTheConnectionOnly(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	create(t, c, path+"/e", "", zk.FlagEphemeral)
	session := c.SessionID()
	c.forget()

	_, err := c.Set(path, make([]byte, biggestData(path)+1), -1)
	if err == nil {
		t.Fatal("a frame above the limit was accepted")
	}
	c.await(t, zk.StateHasSession)
	expectEqual(t, "session", c.SessionID(), session)
	_, stat := get(t, c, path)
	expectEqual(t, "version", stat.Version, int32(0))
	expectEqual(t, "ephemeral", exists(t, c, path+"/e"), true)
}

func TestThousandChildren(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	var expected []string
	for i := 0; i < 1000; i += 100 {
		var ops []interface{}
		for j := i; j < i+100; j++ {
			expected = append(expected, fmt.Sprintf("child-%04d", j))
			ops = append(ops, &zk.CreateRequest{Path: path + "/" + expected[j], Acl: everyone})
		}
		if _, err := c.Multi(ops...); err != nil {
			t.Fatal(err)
		}
	}

	names, stat, err := c.Children(path)
	expectError(t, "children", err, nil)
	sort.Strings(names)
	expectList(t, "names", names, expected...)
	expectEqual(t, "count", fmt.Sprint(stat.NumChildren, stat.Cversion), "1000 1000")
}

// concurrently runs the function for 0 to n-1 at once and waits for all.
func concurrently(n int, do func(i int)) {
	var wait sync.WaitGroup
	for i := 0; i < n; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			do(i)
		}(i)
	}
	wait.Wait()
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	l := newLink(t)
	c := connectTo(t, l.Address(), calm)
	path := home(t, c)

	concurrently(300, func(i int) {
		var err error
		switch i % 3 {
		case 0:
			_, err = c.Create(path+"/s-", nil, zk.FlagSequence, everyone)
		case 1:
			_, _, err = c.Get(path)
		case 2:
			_, _, err = c.Children(path)
		}
		if err != nil {
			t.Error(err)
		}
	})

	requests, replies := l.Frames()
	asked, answered := xids(requests), xids(replies)
	expectEqual(t, "requests", len(asked), 301)
	expectEqual(t, "order of the replies", fmt.Sprint(answered), fmt.Sprint(asked))
	var last int64
	for _, frame := range replies[1:] {
		zxid := int64(binary.BigEndian.Uint64(frame[4:]))
		if zxid < last {
			t.Errorf("zxid went back from %d to %d", last, zxid)
		}
		last = zxid
	}
	expectEqual(t, "children", len(children(t, c, path)), 100)
}

func TestSyncEchoesItsPath(t *testing.T) {
	c := connect(t)
	path := home(t, c)
	expectEqual(t, "path", must(t)(c.Sync(path)), path)
	expectEqual(t, "a path that is not there", must(t)(c.Sync(path+"/none")), path+"/none")
}

func TestSessionGoesOnAfterARestartAndWatchesFireForWhatItMissed(t *testing.T) {
	l := newLink(t)
	c := connectTo(t, l.Address(), calm)
	must(t)(nil, c.AddAuth("digest", []byte("ann:pw")))
	path := home(t, c)
	create(t, c, path+"/e", "still here", zk.FlagEphemeral)
	for _, name := range []string{"changed", "gone", "untouched", "parent", "quiet"} {
		create(t, c, path+"/"+name, "", 0)
	}
	must(t)(c.Create(path+"/mine", []byte("secret"), 0, zk.DigestACL(zk.PermAll, "ann", "pw")))
	session := c.SessionID()

	changed := watchData(t, c, path+"/changed")
	gone := watchData(t, c, path+"/gone")
	appeared := watchExistence(t, c, path+"/appeared")
	grown := watchChildren(t, c, path+"/parent")
	untouched := watchData(t, c, path+"/untouched")
	quiet := watchChildren(t, c, path+"/quiet")
	c.forget()

	control(t, "stop")
	l.Cut()
	control(t, "start")
	other := connect(t)
	set(t, other, path+"/changed", "while it was away", -1)
	remove(t, other, path+"/gone")
	create(t, other, path+"/appeared", "", 0)
	create(t, other, path+"/parent/child", "", 0)
	l.Mend()

	expectEvent(t, changed, zk.EventNodeDataChanged, path+"/changed")
	expectEvent(t, gone, zk.EventNodeDeleted, path+"/gone")
	expectEvent(t, appeared, zk.EventNodeCreated, path+"/appeared")
	expectEvent(t, grown, zk.EventNodeChildrenChanged, path+"/parent")
	c.await(t, zk.StateHasSession)
	expectEqual(t, "session", c.SessionID(), session)
	_, stat := get(t, other, path+"/e")
	expectEqual(t, "owner of the ephemeral", stat.EphemeralOwner, session)
	data, _ := get(t, c, path+"/mine")
	expectEqual(t, "what its identity may read", data, "secret")

	expectSilence(t, untouched)
	set(t, other, path+"/untouched", "", -1)
	create(t, other, path+"/quiet/child", "", 0)
	expectEvent(t, untouched, zk.EventNodeDataChanged, path+"/untouched")
	expectEvent(t, quiet, zk.EventNodeChildrenChanged, path+"/quiet")
}

func TestNothingIsLostInARestart(t *testing.T) {
	l := newLink(t)
	c := connectTo(t, l.Address(), calm)
	path := home(t, c)
	concurrently(100, func(i int) {
		if _, err := c.Create(fmt.Sprintf("%s/n%02d", path, i), []byte(strconv.Itoa(i)), 0, everyone); err != nil {
			t.Error(err)
		}
	})
	set(t, c, path, "set", -1)
	must(t)(c.SetACL(path, everyone, -1))
	_, before := get(t, c, path)
	c.forget()

	control(t, "stop")
	l.Cut() // ZooKeeper may leave a connection without an answer that comes while it starts.
	control(t, "start")
	l.Mend()
	c.await(t, zk.StateHasSession)
	_, after := get(t, c, path)
	expectEqual(t, "stat", *after, *before)
	for i := 0; i < 100; i++ {
		data, _ := get(t, c, fmt.Sprintf("%s/n%02d", path, i))
		expectEqual(t, "data", data, strconv.Itoa(i))
	}
	expectEqual(t, "next number", create(t, c, path+"/s-", "", zk.FlagSequence), path+"/s-0000000100")
	_, stat := get(t, c, path+"/s-0000000100")
	if stat.Czxid <= before.Pzxid {
		t.Errorf("zxid %d after the restart, %d before", stat.Czxid, before.Pzxid)
	}
}

func TestSilentSessionExpires(t *testing.T) {
	l := newLink(t)
	c, witness := connectTo(t, l.Address(), brief), connect(t)
	path := home(t, witness)
	create(t, c, path+"/e", "", zk.FlagEphemeral)
	own := watchData(t, c, path)
	gone := watchData(t, witness, path+"/e")
	session := c.SessionID()

	l.Cut()
	start := time.Now()
	expectEvent(t, gone, zk.EventNodeDeleted, path+"/e")
	// Pings go out every third of the time-out, so that at most one third of it had passed.
	if lived := time.Since(start); lived < brief*2/3-100*time.Millisecond {
		t.Errorf("the session died %v after it fell silent", lived)
	}
	c.forget()
	l.Mend()
	c.await(t, zk.StateExpired)
	select {
	case event := <-own:
		expectEqual(t, "what the watch of the expired session says", event.Err, zk.ErrSessionExpired)
	case <-time.After(patience):
		t.Error("the watch of the expired session stays silent")
	}

	// The client opens a new session by itself.
	c.await(t, zk.StateHasSession)
	if c.SessionID() == session {
		t.Error("the expired session lives again")
	}
	expectEqual(t, "ephemeral", exists(t, c, path+"/e"), false)
}

func TestBusySessionOutlivesItsTimeout(t *testing.T) {
	c := connectTo(t, serverAddress(), brief)
	path := home(t, c)
	create(t, c, path+"/e", "", zk.FlagEphemeral)
	session := c.SessionID()
	c.forget()
	time.Sleep(2 * brief) // The client's pings alone.
	expectEqual(t, "session", c.SessionID(), session)
	expectEqual(t, "ephemeral", exists(t, c, path+"/e"), true)
	expectEqual(t, "reconnections", c.changes(), 0)
}

func TestLockIsHeldByOneAtATime(t *testing.T) {
	path := home(t, connect(t)) + "/lock"
	var mu sync.Mutex
	holders, grants := 0, 0
	clients := make([]*client, 5)
	for i := range clients {
		clients[i] = connect(t)
	}
	concurrently(len(clients), func(i int) {
		lock := zk.NewLock(clients[i].Conn, path, everyone)
		for round := 0; round < 3; round++ {
			if err := lock.Lock(); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			holders++
			grants++
			if holders != 1 {
				t.Errorf("%d hold the lock", holders)
			}
			mu.Unlock()
			time.Sleep(5 * time.Millisecond)
			mu.Lock()
			holders--
			mu.Unlock()
			if err := lock.Unlock(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	expectEqual(t, "grants", grants, 15)
	expectList(t, "left behind", children(t, clients[0], path))
}

func TestRuok(t *testing.T) {
	expectEqual(t, "ruok", fmt.Sprint(zk.FLWRuok([]string{serverAddress()}, patience)), "[true]")
}

// The client finds fault with the answer's line about the asking connection, which has no session; those
// of clients it can read.
func TestConsListsTheSession(t *testing.T) {
	c := connectTo(t, serverAddress(), 7*time.Second)
	path := home(t, c)
	get(t, c, path)
	servers, _ := zk.FLWCons([]string{serverAddress()}, patience)
	for _, session := range servers[0].Clients {
		if session.SessionID == c.SessionID() {
			expectEqual(t, "time-out", session.Timeout, int32(7000))
			expectEqual(t, "last operation", session.LastOperation, "GETD")
			expectEqual(t, "received", session.Received, int64(3))
			_, stat := get(t, c, path)
			expectEqual(t, "last zxid", session.Lzxid, stat.Czxid)
			return
		}
	}
	t.Errorf("%d sessions, not the one asked for", len(servers[0].Clients))
}
