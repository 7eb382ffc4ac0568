package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.WatcherRemoveCuratorFramework;
import org.apache.curator.framework.api.CuratorWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.WatcherType;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Link;
import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;

import java.util.List;
import java.util.stream.Collectors;

/** Watches that fire once. */
class WatcherTest extends ServerTest {
    private final Log<String> events = new Log<>();

    @Test
    void aDataWatchFiresOnceAndBeforeTheChangeCanBeRead() throws Exception {
        CuratorFramework watching = client();
        CuratorFramework writing = client();
        writing.create().forPath(at("a"), bytes("0"));
        Log<String> order = new Log<>();

        watching.getData().usingWatcher(watcher(order)).forPath(at("a"));
        for (int i = 1; i <= 3; i++) {
            writing.setData().forPath(at("a"), bytes("" + i));
        }
        // Everything the server sends comes in one stream, so the watch is in it before this reply.
        watching.sync().forPath(at("a"));
        watching.getData()
                .inBackground((c, event) -> order.add("read " + text(event.getData())))
                .forPath(at("a"));

        assertEquals(List.of("NodeDataChanged " + at("a"), "read 3"), order.next(2));
        order.assertEmpty();
    }

    @Test
    void anExistsWatchHearsOfBirthChangeAndDeath() throws Exception {
        CuratorFramework client = client();

        assertNull(client.checkExists().usingWatcher(watcher(events)).forPath(at("a")));
        client.create().forPath(at("a"));
        assertEquals("NodeCreated " + at("a"), events.next());
        client.checkExists().usingWatcher(watcher(events)).forPath(at("a"));
        client.setData().forPath(at("a"), bytes("1"));
        assertEquals("NodeDataChanged " + at("a"), events.next());
        client.checkExists().usingWatcher(watcher(events)).forPath(at("a"));
        client.delete().forPath(at("a"));
        assertEquals("NodeDeleted " + at("a"), events.next());
    }

    @Test
    void aChildWatchHearsOfChildrenOnly() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("p"));

        client.getChildren().usingWatcher(watcher(events)).forPath(at("p"));
        client.setData().forPath(at("p"), bytes("1"));
        client.create().forPath(at("p/c"));
        assertEquals("NodeChildrenChanged " + at("p"), events.next());

        client.getChildren().usingWatcher(watcher(events)).forPath(at("p"));
        client.setData().forPath(at("p/c"), bytes("1"));
        client.create().forPath(at("p/c/d"));
        client.delete().forPath(at("p/c/d"));
        client.delete().forPath(at("p/c"));
        assertEquals("NodeChildrenChanged " + at("p"), events.next());

        client.getChildren().usingWatcher(watcher(events)).forPath(at("p"));
        client.delete().forPath(at("p"));
        assertEquals("NodeDeleted " + at("p"), events.next());
        events.assertEmpty();
    }

    @Test
    void aFailedReadLeavesNoWatch() throws Exception {
        CuratorFramework client = client();

        assertThrows(
                KeeperException.NoNodeException.class,
                () -> client.getData().usingWatcher(watcher(events)).forPath(at("a")));
        client.create().forPath(at("a"));
        client.getData().usingWatcher(watcher(events)).forPath(at("a"));
        client.setData().forPath(at("a"), bytes("1"));

        assertEquals("NodeDataChanged " + at("a"), events.next());
    }

    @Test
    void oneChangeReachesEveryWatcher() throws Exception {
        CuratorFramework writing = client();
        writing.create().forPath(at("a"));

        for (int i = 0; i < 5; i++) {
            client().getData().usingWatcher(watcher(events)).forPath(at("a"));
        }
        writing.delete().forPath(at("a"));

        for (String event : events.next(5)) {
            assertEquals("NodeDeleted " + at("a"), event);
        }
    }

    @Test
    void aRemovedWatcherHearsOnlyOfItsRemoval() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("a"));
        Log<String> removed = new Log<>();
        Watcher doomed = event -> removed.add(describe(event));
        client.getData().usingWatcher(doomed).forPath(at("a"));
        client.getData().usingWatcher(watcher(events)).forPath(at("a"));

        client.watches().remove(doomed).ofType(WatcherType.Data).forPath(at("a"));
        assertEquals("DataWatchRemoved " + at("a"), removed.next());
        client.setData().forPath(at("a"), bytes("1"));

        assertEquals("NodeDataChanged " + at("a"), events.next());
        removed.assertEmpty();
    }

    @Test
    void allWatchersOfAPathGoTogether() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("a"));
        client.getData().usingWatcher(watcher(events)).forPath(at("a"));
        client.getChildren().usingWatcher(watcher(events)).forPath(at("a"));

        client.watches().removeAll().ofType(WatcherType.Children).forPath(at("a"));
        assertEquals("ChildWatchRemoved " + at("a"), events.next());
        client.create().forPath(at("a/child"));
        client.watches().removeAll().forPath(at("a"));
        assertEquals("DataWatchRemoved " + at("a"), events.next());
        client.setData().forPath(at("a"), bytes("1"));

        client.getData().usingWatcher(watcher(events)).forPath(at("a"));
        client.setData().forPath(at("a"), bytes("2"));
        assertEquals("NodeDataChanged " + at("a"), events.next());
        events.assertEmpty();
    }

    @Test
    void removingWhatIsNotThereIsRefusedUnlessQuiet() throws Exception {
        CuratorFramework client = client();
        Watcher stranger = event -> events.add(describe(event));
        client.create().forPath(at("a"));
        client.getData().usingWatcher(watcher(events)).forPath(at("a"));

        assertThrows(
                KeeperException.NoWatcherException.class,
                () -> client.watches().remove(stranger).forPath(at("a")));
        assertThrows(
                KeeperException.NoWatcherException.class,
                () -> client.watches().removeAll().ofType(WatcherType.Children).forPath(at("a")));
        client.watches().remove(stranger).quietly().forPath(at("a"));
        client.setData().forPath(at("a"), bytes("1"));

        assertEquals("NodeDataChanged " + at("a"), events.next());
    }

    @Test
    void aClientForItsOwnWatchesRemovesJustThose() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("a"));
        WatcherRemoveCuratorFramework scoped = client.newWatcherRemoveCuratorFramework();
        Log<String> removed = new Log<>();
        scoped.getData().usingWatcher(watcher(removed)).forPath(at("a"));
        scoped.getChildren().usingWatcher(watcher(removed)).forPath(at("a"));
        client.getData().usingWatcher(watcher(events)).forPath(at("a"));

        scoped.removeWatchers();
        assertEquals(
                List.of("ChildWatchRemoved " + at("a"), "DataWatchRemoved " + at("a")),
                removed.next(2).stream().sorted().collect(Collectors.toList()));
        client.create().forPath(at("a/child"));
        client.setData().forPath(at("a"), bytes("1"));

        assertEquals("NodeDataChanged " + at("a"), events.next());
        removed.assertEmpty();
    }

    @Test
    void watchesAreRemovedLocallyWhileTheServerIsOutOfReach() throws Exception {
        Link link = closing(new Link());
        CuratorFramework away = clientOver(link, LONG_SESSION_MS);
        CuratorFramework writing = client();
        writing.create().forPath(at("a"));
        Log<String> removed = new Log<>();
        Watcher doomed = event -> removed.add(describe(event));
        away.getData().usingWatcher(doomed).forPath(at("a"));
        Log<ConnectionState> states = statesOf(away);

        link.cut();
        states.until(ConnectionState.SUSPENDED);
        away.watches().remove(doomed).locally().forPath(at("a"));
        removed.until("DataWatchRemoved " + at("a"));
        link.mend();
        states.until(ConnectionState.RECONNECTED);

        writing.setData().forPath(at("a"), bytes("1"));
        away.sync().forPath(at("a"));
        away.getData()
                .inBackground((c, event) -> removed.add("read " + text(event.getData())))
                .forPath(at("a"));
        assertEquals("read 1", removed.next());
    }

    @Test
    void whatWasMissedWhileAwayIsToldOnReturn() throws Exception {
        Link link = closing(new Link());
        CuratorFramework away = clientOver(link, LONG_SESSION_MS);
        CuratorFramework writing = client();
        for (String name : List.of("changed", "deleted", "parent", "still")) {
            writing.create().forPath(at(name), bytes("0"));
        }
        away.getData().usingWatcher(watcher(events)).forPath(at("changed"));
        away.getData().usingWatcher(watcher(events)).forPath(at("deleted"));
        away.checkExists().usingWatcher(watcher(events)).forPath(at("created"));
        away.getChildren().usingWatcher(watcher(events)).forPath(at("parent"));
        away.getData().usingWatcher(watcher(events)).forPath(at("still"));
        Log<ConnectionState> states = statesOf(away);

        link.cut();
        states.until(ConnectionState.SUSPENDED);
        writing.setData().forPath(at("changed"), bytes("1"));
        writing.delete().forPath(at("deleted"));
        writing.create().forPath(at("created"));
        writing.create().forPath(at("parent/child"));
        link.mend();
        states.until(ConnectionState.RECONNECTED);

        assertEquals(
                List.of(
                        "NodeChildrenChanged " + at("parent"),
                        "NodeCreated " + at("created"),
                        "NodeDataChanged " + at("changed"),
                        "NodeDeleted " + at("deleted")),
                events.next(4).stream().sorted().collect(Collectors.toList()));
        writing.setData().forPath(at("still"), bytes("1"));
        assertEquals("NodeDataChanged " + at("still"), events.next());
        events.assertEmpty();
    }

    /** A watcher that logs what happens to nodes, and not how its connection fares. */
    private static CuratorWatcher watcher(Log<String> log) {
        return event -> {
            if (event.getType() != EventType.None) {
                log.add(describe(event));
            }
        };
    }

    private static String describe(WatchedEvent event) {
        return event.getType() + " " + event.getPath();
    }
}
