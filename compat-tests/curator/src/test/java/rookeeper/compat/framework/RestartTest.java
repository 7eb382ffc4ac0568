package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.CuratorWatcher;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Isolated;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.Server;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/** The server goes away and comes back. */
@Isolated("all others need the server")
class RestartTest extends ServerTest {
    private boolean isDown;

    @AfterEach
    void leaveTheServerRunning() throws Exception {
        if (isDown) {
            start();
        }
    }

    @Test
    void theTreeComesBackAsItWas() throws Exception {
        CuratorFramework client = roughClient();
        client.create().forPath(at("a"), bytes("0"));
        client.setData().forPath(at("a"), bytes("1"));
        client.create().forPath(at("a/b"), null);
        client.create().forPath(at("a/c"), new byte[100_000]);
        client.delete().forPath(at("a/b"));
        client.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath(at("a/s-"));
        client.setACL().withACL(Ids.READ_ACL_UNSAFE).forPath(at("a/c"));
        List<String> paths = List.of(root, at("a"), at("a/c"), at("a/s-0000000002"));
        Map<String, Stat> stats = new HashMap<>();
        for (String path : paths) {
            stats.put(path, client.checkExists().forPath(path));
        }

        Log<ConnectionState> states = statesOf(client);
        restart();
        states.until(ConnectionState.RECONNECTED);

        for (String path : paths) {
            assertEquals(stats.get(path), client.checkExists().forPath(path), path);
        }
        assertEquals("1", text(client, at("a")));
        assertArrayEquals(new byte[100_000], client.getData().forPath(at("a/c")));
        assertEquals(Ids.READ_ACL_UNSAFE, client.getACL().forPath(at("a/c")));
        assertNull(client.checkExists().forPath(at("a/b")));
        assertEquals(
                at("a/s-0000000003"),
                client.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath(at("a/s-")));
        Stat later = client.setData().forPath(at("a"), bytes("2"));
        assertTrue(later.getMzxid() > stats.get(root).getPzxid(), "zxids go on rising");
    }

    @Test
    void sessionsWithTheirEphemeralsAndWatchesGoOn() throws Exception {
        CuratorFramework client = roughClient();
        CuratorFramework other = roughClient();
        long session = Sessions.idOf(client);
        Log<String> events = new Log<>();
        CuratorWatcher watcher =
                event -> {
                    if (event.getType() != EventType.None) {
                        events.add(event.getType() + " " + event.getPath());
                    }
                };
        client.create().withMode(CreateMode.EPHEMERAL).forPath(at("e"));
        client.create().forPath(at("a"));
        client.getData().usingWatcher(watcher).forPath(at("a"));
        client.checkExists().usingWatcher(watcher).forPath(at("b"));
        client.watchers()
                .add()
                .withMode(AddWatchMode.PERSISTENT_RECURSIVE)
                .usingWatcher(watcher)
                .forPath(at("tree"));

        Log<ConnectionState> states = statesOf(client);
        Log<ConnectionState> otherStates = statesOf(other);
        restart();
        states.until(ConnectionState.SUSPENDED);
        assertEquals(ConnectionState.RECONNECTED, states.next(), "not lost");
        otherStates.until(ConnectionState.RECONNECTED);
        passQueue(client); // The persistent watch is set again, and does not tell what was missed.

        assertEquals(session, Sessions.idOf(client));
        assertEquals(session, other.checkExists().forPath(at("e")).getEphemeralOwner());
        other.setData().forPath(at("a"), bytes("1"));
        other.create().forPath(at("b"));
        other.create().creatingParentsIfNeeded().forPath(at("tree/leaf"));
        assertEquals(
                List.of(
                        "NodeDataChanged " + at("a"),
                        "NodeCreated " + at("b"),
                        "NodeCreated " + at("tree"),
                        "NodeCreated " + at("tree/leaf")),
                events.next(4));
        client.close();
        awaitDeleted(other, at("e"));
    }

    @Test
    void theSessionOfAClientThatLeftMeanwhileExpires() throws Exception {
        CuratorFramework leaving =
                roughClient(builder -> builder.sessionTimeoutMs(8 * Server.TICK_MS));
        leaving.create().withMode(CreateMode.EPHEMERAL).forPath(at("e"));

        stop();
        leaving.close();
        start();
        CuratorFramework witness = client();

        assertNotNull(
                witness.checkExists().forPath(at("e")), "a restart gives every session its time");
        awaitDeleted(witness, at("e"));
    }

    @Test
    void whatWasAcknowledgedSurvivesAKill() throws Exception {
        CuratorFramework client = roughClient();
        Log<ConnectionState> states = statesOf(client);
        AtomicInteger acknowledged = new AtomicInteger();
        AtomicBoolean isKilled = new AtomicBoolean();
        client.create().forPath(at("a"), bytes("0"));

        // Writes all the time, so that the kill falls into the middle of one.
        Future<Boolean> writer =
                inThread(
                        () -> {
                            for (int i = 1; !isKilled.get(); i++) {
                                try {
                                    client.getZookeeperClient()
                                            .getZooKeeper()
                                            .setData(at("a"), bytes("" + i), -1);
                                } catch (KeeperException e) {
                                    return true; // The connection is gone: unknown, not
                                                 // acknowledged.
                                }
                                acknowledged.set(i);
                            }
                            return true;
                        });
        eventually("a hundred writes", () -> acknowledged.get() >= 100);
        Server.kill();
        isDown = true;
        isKilled.set(true);
        get(writer);
        start();
        states.until(ConnectionState.RECONNECTED);

        int found = Integer.parseInt(text(client, at("a")));
        int last = acknowledged.get();
        assertTrue(found == last || found == last + 1, found + " found, " + last + " acknowledged");
        assertEquals(found, client.checkExists().forPath(at("a")).getVersion());
    }

    @Test
    void aLockStaysHeldAndItsQueueInOrder() throws Exception {
        CuratorFramework holder = roughClient();
        CuratorFramework waiter = roughClient();
        InterProcessMutex held = new InterProcessMutex(holder, at("lock"));
        InterProcessMutex wanted = new InterProcessMutex(waiter, at("lock"));
        held.acquire();
        Future<Boolean> waiting =
                inThread(
                        () -> {
                            wanted.acquire();
                            wanted.release();
                            return true;
                        });
        List<String> queue = awaitChildren(holder, at("lock"), 2);

        Log<ConnectionState> states = statesOf(holder);
        Log<ConnectionState> waiterStates = statesOf(waiter);
        restart();
        states.until(ConnectionState.RECONNECTED);
        waiterStates.until(ConnectionState.RECONNECTED);

        assertEquals(sorted(queue), sorted(holder.getChildren().forPath(at("lock"))), "same nodes");
        assertFalse(waiting.isDone());
        held.release();
        assertTrue(get(waiting));
    }

    @Test
    void aLeaderStepsDownWithoutTheServerAndThereIsOneAgainAfterwards() throws Exception {
        CuratorFramework one = roughClient();
        CuratorFramework two = roughClient();
        Log<String> events = new Log<>();
        LeaderLatch first = closing(new LeaderLatch(one, at("latch"), "first"));
        LeaderLatch second = closing(new LeaderLatch(two, at("latch"), "second"));
        first.addListener(
                new LeaderLatchListener() {
                    @Override
                    public void isLeader() {
                        events.add("leads");
                    }

                    @Override
                    public void notLeader() {
                        events.add("does not lead");
                    }
                });
        first.start();
        assertEquals("leads", events.next());
        second.start();
        awaitChildren(one, at("latch"), 2);

        stop();
        assertEquals("does not lead", events.next());
        assertFalse(first.hasLeadership());
        start();

        eventually("exactly one leads", () -> first.hasLeadership() != second.hasLeadership());
        String leader = first.hasLeadership() ? "first" : "second";
        assertEquals(leader, first.getLeader().getId());
    }

    @Test
    void recipesGoOnWhereTheyWere() throws Exception {
        CuratorFramework client = roughClient();
        CuratorFramework other = roughClient();
        PersistentNode node =
                closing(
                        new PersistentNode(
                                client, CreateMode.EPHEMERAL, false, at("node"), bytes("x")));
        CuratorCache cache = closing(CuratorCache.build(client, at("cached")));
        SimpleDistributedQueue queue = new SimpleDistributedQueue(client, at("queue"));
        DistributedAtomicLong number =
                new DistributedAtomicLong(client, at("number"), new RetryNTimes(10, 100));
        node.start();
        assertTrue(node.waitForInitialCreate(SOON_MS, TimeUnit.MILLISECONDS));
        cache.start();
        other.create().forPath(at("cached"), bytes("before"));
        eventually("the cache is filled", () -> cache.get(at("cached")).isPresent());
        queue.offer(bytes("1"));
        queue.offer(bytes("2"));
        assertTrue(number.add(41L).succeeded());
        Log<ConnectionState> states = statesOf(other);

        restart();
        states.until(ConnectionState.RECONNECTED);
        other.setData().forPath(at("cached"), bytes("after"));
        other.create().forPath(at("cached/child"), bytes("new"));

        eventually(
                "the cache follows",
                () ->
                        cache.size() == 2
                                && cache.get(at("cached"))
                                        .filter(data -> text(data.getData()).equals("after"))
                                        .isPresent());
        assertEquals("1", text(queue.poll(SOON_MS, TimeUnit.MILLISECONDS)));
        assertEquals("2", text(queue.poll()));
        assertNull(queue.peek());
        AtomicValue<Long> sum = number.increment();
        assertTrue(sum.succeeded());
        assertEquals(42L, sum.postValue());
        assertEquals("x", text(other, node.getActualPath()));
    }

    @Test
    void countingThroughRestartsLosesAndInventsNothing() throws Exception {
        CuratorFramework client = roughClient();
        client.create().forPath(at("counter"), ByteBuffer.allocate(8).putLong(0).array());
        AtomicBoolean isOver = new AtomicBoolean();
        AtomicInteger counted = new AtomicInteger();
        AtomicInteger uncertain = new AtomicInteger();

        Future<Boolean> counting =
                inThread(
                        () -> {
                            while (!isOver.get()) {
                                Stat stat = new Stat();
                                byte[] old =
                                        client.getData().storingStatIn(stat).forPath(at("counter"));
                                long next = ByteBuffer.wrap(old).getLong() + 1;
                                try {
                                    client.setData()
                                            .withVersion(stat.getVersion())
                                            .forPath(
                                                    at("counter"),
                                                    ByteBuffer.allocate(8).putLong(next).array());
                                    counted.incrementAndGet();
                                } catch (KeeperException.BadVersionException
                                        | KeeperException.ConnectionLossException e) {
                                    // Its own write may have been carried out, unheard.
                                    uncertain.incrementAndGet();
                                }
                            }
                            return true;
                        });
        for (int restart = 0; restart < 2; restart++) {
            int before = counted.get();
            eventually("it counts", () -> counted.get() > before + 50);
            restart();
        }
        int before = counted.get();
        eventually("it counts again", () -> counted.get() > before + 50);
        isOver.set(true);
        get(counting);

        Stat stat = new Stat();
        long value =
                ByteBuffer.wrap(client.getData().storingStatIn(stat).forPath(at("counter")))
                        .getLong();
        assertEquals(value, stat.getVersion());
        assertTrue(
                counted.get() <= value && value <= counted.get() + uncertain.get(),
                value + " is not within " + counted + " to that and " + uncertain);
    }

    private static List<String> sorted(List<String> names) {
        List<String> sorted = new ArrayList<>(names);
        sorted.sort(null);
        return sorted;
    }

    private void stop() throws Exception {
        Server.stop();
        isDown = true;
    }

    private void start() throws Exception {
        Server.start();
        isDown = false;
    }

    private void restart() throws Exception {
        stop();
        start();
    }
}
