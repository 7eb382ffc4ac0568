package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.Watcher.WatcherType;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Link;
import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.List;
import java.util.concurrent.CountDownLatch;

/** Watches that stay. */
class AddWatchTest extends ServerTest {
    private final Log<String> events = new Log<>();
    private final Watcher watcher =
            event -> {
                if (event.getType() != EventType.None) {
                    events.add(event.getType() + " " + event.getPath());
                }
            };

    @Test
    void aPersistentWatchHearsAllOfANodeAndItsChildrenComingAndGoing() throws Exception {
        CuratorFramework client = client();

        add(client, AddWatchMode.PERSISTENT, at("a"));
        for (int round = 0; round < 2; round++) {
            client.create().forPath(at("a"));
            client.setData().forPath(at("a"), bytes("1"));
            client.create().forPath(at("a/b"));
            client.setData().forPath(at("a/b"), bytes("1"));
            client.create().forPath(at("a/b/c"));
            client.delete().forPath(at("a/b/c"));
            client.delete().forPath(at("a/b"));
            client.delete().forPath(at("a"));

            assertEquals(
                    List.of(
                            "NodeCreated " + at("a"),
                            "NodeDataChanged " + at("a"),
                            "NodeChildrenChanged " + at("a"),
                            "NodeChildrenChanged " + at("a"),
                            "NodeDeleted " + at("a")),
                    events.next(5));
        }
        events.assertEmpty();
    }

    @Test
    void aRecursiveWatchHearsAllOfEveryDescendant() throws Exception {
        CuratorFramework client = client();

        add(client, AddWatchMode.PERSISTENT_RECURSIVE, at("a"));
        client.create().forPath(at("aside")); // Not below, only spelt alike.
        for (int round = 0; round < 2; round++) {
            client.create().forPath(at("a"));
            client.create().forPath(at("a/b"));
            client.create().forPath(at("a/b/c"));
            client.setData().forPath(at("a/b/c"), bytes("1"));
            client.setData().forPath(at("a"), bytes("1"));
            client.delete().forPath(at("a/b/c"));
            client.delete().forPath(at("a/b"));
            client.delete().forPath(at("a"));

            assertEquals(
                    List.of(
                            "NodeCreated " + at("a"),
                            "NodeCreated " + at("a/b"),
                            "NodeCreated " + at("a/b/c"),
                            "NodeDataChanged " + at("a/b/c"),
                            "NodeDataChanged " + at("a"),
                            "NodeDeleted " + at("a/b/c"),
                            "NodeDeleted " + at("a/b"),
                            "NodeDeleted " + at("a")),
                    events.next(8));
        }
        events.assertEmpty();
    }

    @Test
    void persistentAndOneShotWatchesLiveSideBySide() throws Exception {
        CuratorFramework client = client();
        Log<String> once = new Log<>();
        Watcher oneShot = event -> once.add(event.getType() + " " + event.getPath());
        client.create().forPath(at("a"));

        add(client, AddWatchMode.PERSISTENT, at("a"));
        client.getData().usingWatcher(oneShot).forPath(at("a"));
        client.setData().forPath(at("a"), bytes("1"));
        client.setData().forPath(at("a"), bytes("2"));

        assertEquals(
                List.of("NodeDataChanged " + at("a"), "NodeDataChanged " + at("a")),
                events.next(2));
        assertEquals("NodeDataChanged " + at("a"), once.next());
        once.assertEmpty();
    }

    @Test
    void aRemovedWatchIsSilent() throws Exception {
        CuratorFramework client = client();
        Log<String> sentinel = new Log<>();
        add(client, AddWatchMode.PERSISTENT_RECURSIVE, at("a"));
        client.create().forPath(at("a"));
        assertEquals("NodeCreated " + at("a"), events.next());

        assertThrows(
                KeeperException.NoWatcherException.class,
                () ->
                        client.watchers()
                                .remove(watcher)
                                .ofType(WatcherType.Children)
                                .forPath(at("a")));
        client.watchers().remove(watcher).ofType(WatcherType.PersistentRecursive).forPath(at("a"));
        assertEquals("PersistentWatchRemoved " + at("a"), events.next());

        Watcher onExists = event -> sentinel.add(event.getType().name());
        client.checkExists().usingWatcher(onExists).forPath(at("a"));
        client.setData().forPath(at("a"), bytes("1"));
        assertEquals("NodeDataChanged", sentinel.next());
        events.assertEmpty();
    }

    @Test
    void addedInTheBackgroundItWorksFromTheCallbackOn() throws Exception {
        CuratorFramework client = client();
        CountDownLatch added = new CountDownLatch(1);

        client.watchers()
                .add()
                .withMode(AddWatchMode.PERSISTENT)
                .inBackground(
                        (c, event) -> {
                            assertEquals(0, event.getResultCode());
                            added.countDown();
                        })
                .usingWatcher(watcher)
                .forPath(at("a"));
        await(added);
        client.create().forPath(at("a"));

        assertEquals("NodeCreated " + at("a"), events.next());
    }

    @Test
    void persistentWatchesSurviveALostConnection() throws Exception {
        Link link = closing(new Link());
        CuratorFramework away = clientOver(link, LONG_SESSION_MS);
        CuratorFramework writing = client();
        add(away, AddWatchMode.PERSISTENT, at("single"));
        add(away, AddWatchMode.PERSISTENT_RECURSIVE, at("tree"));
        Log<ConnectionState> states = statesOf(away);

        link.dropConnections();
        states.until(ConnectionState.RECONNECTED);
        passQueue(away); // It sets its watches again, and these do not tell what was missed.
        writing.create().forPath(at("single"));
        writing.create().forPath(at("tree"));
        writing.create().forPath(at("tree/leaf"));
        writing.delete().forPath(at("single"));

        assertEquals(
                List.of(
                        "NodeCreated " + at("single"),
                        "NodeCreated " + at("tree"),
                        "NodeCreated " + at("tree/leaf"),
                        "NodeDeleted " + at("single")),
                events.next(4));
    }

    @Test
    void thePersistentWatcherRecipeKeepsItselfSetAcrossSessions() throws Exception {
        CuratorFramework watching = roughClient();
        CuratorFramework writing = client();
        Log<String> resets = new Log<>();
        PersistentWatcher recipe = closing(new PersistentWatcher(watching, at("a"), true));
        recipe.getListenable().addListener(watcher);
        recipe.getResetListenable().addListener(() -> resets.add("set"));

        recipe.start();
        resets.next();
        writing.create().forPath(at("a"));
        assertEquals("NodeCreated " + at("a"), events.next());
        Log<ConnectionState> states = statesOf(watching);
        Sessions.end(watching);
        states.until(ConnectionState.LOST);
        states.until(ConnectionState.RECONNECTED);
        resets.next();
        // That may have been for a moment in which the victim had its old session back, so try.
        eventually(
                "the watch is set in the new session",
                () -> {
                    writing.setData().forPath(at("a"), bytes("again"));
                    passQueue(watching);
                    return !events.isEmpty();
                });
        writing.create().forPath(at("a/b"));
        events.until("NodeCreated " + at("a/b"));

        recipe.close();
        writing.setData().forPath(at("a"), bytes("1"));
        watching.sync().forPath(at("a"));
        watching.getData().forPath(at("a"));
        events.assertEmpty();
    }

    @Test
    void thePersistentWatcherRecipeSaysWhenItsClientCloses() throws Exception {
        CuratorFramework client = client();
        Log<KeeperState> states = new Log<>();
        Log<String> resets = new Log<>();
        PersistentWatcher recipe = closing(new PersistentWatcher(client, at("a"), false));
        recipe.getListenable().addListener(event -> states.add(event.getState()));
        recipe.getResetListenable().addListener(() -> resets.add("set"));

        recipe.start();
        resets.next();
        client.close();

        states.until(KeeperState.Closed);
    }

    private void add(CuratorFramework client, AddWatchMode mode, String path) throws Exception {
        client.watchers().add().withMode(mode).usingWatcher(watcher).forPath(path);
    }
}
