package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.SessionFailRetryLoop;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.CuratorWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.framework.state.ConnectionStateListenerManagerFactory;
import org.apache.curator.framework.state.SessionConnectionStateErrorPolicy;
import org.apache.curator.retry.RetryForever;
import org.apache.curator.retry.RetryOneTime;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Link;
import rookeeper.compat.support.Log;
import rookeeper.compat.support.Server;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.net.ServerSocket;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;

/** Connections that break, sessions that outlast them, and sessions that end. */
class SessionTest extends ServerTest {
    @Test
    void aSessionOutlastsItsConnection() throws Exception {
        CuratorFramework witness = client();
        Link link = closing(new Link());
        CuratorFramework client = clientOver(link, LONG_SESSION_MS);
        long session = Sessions.idOf(client);
        client.create().withMode(CreateMode.EPHEMERAL).forPath(at("e"));
        Log<ConnectionState> states = statesOf(client);

        link.dropConnections();
        states.until(ConnectionState.SUSPENDED);
        assertEquals(ConnectionState.RECONNECTED, states.next());

        assertEquals(session, Sessions.idOf(client));
        assertEquals(session, witness.checkExists().forPath(at("e")).getEphemeralOwner());
    }

    @Test
    void aSilentSessionExpiresAfterItsTimeoutAndNotBefore() throws Exception {
        CuratorFramework witness = client();
        Link link = closing(new Link());
        int timeoutMs = 4 * Server.TICK_MS;
        CuratorFramework client = clientOver(link, timeoutMs);
        long session = Sessions.idOf(client);
        client.create().withMode(CreateMode.EPHEMERAL).forPath(at("e"));
        Log<ConnectionState> states = statesOf(client);

        long beforeLastRequest = System.nanoTime();
        client.setData().forPath(at("e"), bytes("last words"));
        link.cut();
        awaitDeleted(witness, at("e"));
        long silentMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - beforeLastRequest);
        assertTrue(silentMs >= timeoutMs, "expired after only " + silentMs + " ms");
        states.until(ConnectionState.LOST);

        link.mend();
        states.until(ConnectionState.RECONNECTED);
        assertNotEquals(session, Sessions.idOf(client));
        client.create().withMode(CreateMode.EPHEMERAL).forPath(at("e"));
    }

    @Test
    void anEndedSessionTakesItsEphemeralsAlongAndItsClientLearnsOfIt() throws Exception {
        CuratorFramework witness = client();
        CuratorFramework victim = roughClient();
        long session = Sessions.idOf(victim);
        for (int i = 0; i < 10; i++) {
            victim.create()
                    .creatingParentsIfNeeded()
                    .withMode(CreateMode.EPHEMERAL)
                    .forPath(at("p" + i % 2 + "/e" + i));
        }
        victim.create().forPath(at("stays"));
        Log<ConnectionState> states = statesOf(victim);

        Sessions.end(victim);

        assertEquals(List.of(), witness.getChildren().forPath(at("p0")));
        assertEquals(List.of(), witness.getChildren().forPath(at("p1")));
        assertNotNull(witness.checkExists().forPath(at("stays")));
        states.until(ConnectionState.LOST);
        states.until(ConnectionState.RECONNECTED);
        assertNotEquals(session, Sessions.idOf(victim));
        assertEquals(3, victim.getChildren().forPath(root).size());
    }

    @Test
    void theEndOfASessionIsSeenAsOrdinaryDeletions() throws Exception {
        CuratorFramework witness = client();
        CuratorFramework victim = roughClient();
        Log<String> events = new Log<>();
        CuratorWatcher watcher = event -> events.add(event.getType() + " " + event.getPath());
        victim.create().withMode(CreateMode.EPHEMERAL).forPath(at("e"));
        witness.getData().usingWatcher(watcher).forPath(at("e"));
        witness.getChildren().usingWatcher(watcher).forPath(root);

        Sessions.end(victim);

        assertEquals(
                List.of("NodeChildrenChanged " + root, "NodeDeleted " + at("e")),
                events.next(2).stream().sorted().collect(Collectors.toList()));
    }

    @Test
    void aClosedClientsSessionIsGoneAtOnce() throws Exception {
        CuratorFramework client = client();
        ZooKeeper zk = client.getZookeeperClient().getZooKeeper();
        long id = zk.getSessionId();
        byte[] password = zk.getSessionPasswd();

        client.close();

        assertEquals(KeeperState.Expired, Sessions.attach(id, password));
    }

    @Test
    void aSessionBelongsToWhoeverKnowsItsPassword() throws Exception {
        CuratorFramework witness = client();
        CuratorFramework client = roughClient();
        client.create().withMode(CreateMode.EPHEMERAL).forPath(at("e"));
        ZooKeeper zk = client.getZookeeperClient().getZooKeeper();

        byte[] wrong = zk.getSessionPasswd().clone();
        wrong[0] ^= 1;
        assertEquals(KeeperState.Expired, Sessions.attach(zk.getSessionId(), wrong));

        assertNotNull(witness.checkExists().forPath(at("e")), "a wrong guess ends nothing");
    }

    @Test
    void theServerBoundsTheSessionTimeout() throws Exception {
        CuratorFramework hasty = client(builder -> builder.sessionTimeoutMs(Server.TICK_MS));
        CuratorFramework lazy = client(builder -> builder.sessionTimeoutMs(10_000_000));
        CuratorFramework modest = client(builder -> builder.sessionTimeoutMs(7 * Server.TICK_MS));

        assertEquals(2 * Server.TICK_MS, negotiatedMs(hasty));
        assertEquals(20 * Server.TICK_MS, negotiatedMs(lazy));
        assertEquals(7 * Server.TICK_MS, negotiatedMs(modest));
    }

    @Test
    void aClientThatMayBeReadOnlyIsNotWhereTheServerIsNot() throws Exception {
        CuratorFramework client = client(builder -> builder.canBeReadOnly(true));

        client.create().forPath(at("a"), bytes("written"));

        assertEquals("written", text(client, at("a")));
        assertEquals(
                ZooKeeper.States.CONNECTED, client.getZookeeperClient().getZooKeeper().getState());
    }

    @Test
    void aClientFindsTheServerThatRunsInItsList() throws Exception {
        int closedPort;
        try (ServerSocket door = new ServerSocket(0)) {
            closedPort = door.getLocalPort();
        }
        String list = "127.0.0.1:" + closedPort + "," + Server.CONNECT;

        for (int i = 0; i < 3; i++) { // Clients shuffle the list.
            CuratorFramework client = client(builder -> builder.connectString(list));
            assertNotNull(client.checkExists().forPath(root));
        }
    }

    @Test
    void anIdleSessionIsKeptAlive() throws Exception {
        int timeoutMs = 4 * Server.TICK_MS;
        CuratorFramework busy = client();
        Link link = closing(new Link());
        CuratorFramework lapsed = clientOver(link, timeoutMs);
        CuratorFramework idle = client(builder -> builder.sessionTimeoutMs(timeoutMs));
        idle.create().withMode(CreateMode.EPHEMERAL).forPath(at("idle"));
        lapsed.create().withMode(CreateMode.EPHEMERAL).forPath(at("lapsed"));

        link.cut(); // A second client of the same timeout shows when it would have passed.
        awaitDeleted(busy, at("lapsed"));
        lapsed.close();

        assertNotNull(busy.checkExists().forPath(at("idle")));
    }

    @Test
    void aSessionFailLoopRepeatsTheWorkOfALostSession() throws Exception {
        CuratorFramework client = roughClient();
        AtomicInteger attempts = new AtomicInteger();

        String result =
                SessionFailRetryLoop.callWithRetry(
                        client.getZookeeperClient(),
                        SessionFailRetryLoop.Mode.RETRY,
                        () -> {
                            if (attempts.incrementAndGet() == 1) {
                                Sessions.end(client);
                                client.getData().forPath(root); // Here the loss is noticed.
                            }
                            return "attempt " + attempts.get();
                        });

        assertEquals("attempt 2", result);
    }

    @Test
    void aStrictSessionFailLoopGivesUp() throws Exception {
        CuratorFramework client = roughClient();
        Log<ConnectionState> states = statesOf(client);

        assertThrows(
                SessionFailRetryLoop.SessionFailedException.class,
                () ->
                        SessionFailRetryLoop.callWithRetry(
                                client.getZookeeperClient(),
                                SessionFailRetryLoop.Mode.FAIL,
                                () -> {
                                    Sessions.end(client);
                                    return client.getData().forPath(root);
                                }));
        states.until(ConnectionState.RECONNECTED);
        assertNotNull(client.checkExists().forPath(root));
    }

    @Test
    void requestsWaitForTheConnectionAsLongAsTheRetryPolicySays() throws Exception {
        Link link = closing(new Link());
        CuratorFramework patient =
                roughClient(
                        builder ->
                                builder.connectString(link.connectString())
                                        .ensembleTracker(false)
                                        .retryPolicy(new RetryForever(50)));
        CuratorFramework hasty =
                roughClient(
                        builder ->
                                builder.connectString(link.connectString())
                                        .ensembleTracker(false)
                                        .connectionTimeoutMs(500)
                                        .retryPolicy(new RetryOneTime(10)));

        Log<ConnectionState> states = statesOf(patient);
        link.cut();
        states.until(ConnectionState.SUSPENDED);
        Future<String> made = inThread(() -> patient.create().forPath(at("a")));
        assertThrows(
                KeeperException.ConnectionLossException.class,
                () -> hasty.create().forPath(at("b")));
        assertTrue(!made.isDone(), "still without a connection");
        link.mend();

        assertEquals(at("a"), get(made));
        assertNull(patient.checkExists().forPath(at("b")));
    }

    @Test
    void theSessionErrorPolicyIgnoresBriefInterruptions() throws Exception {
        Link link = closing(new Link());
        CuratorFramework client =
                roughClient(
                        builder ->
                                builder.connectString(link.connectString())
                                        .ensembleTracker(false)
                                        .connectionStateErrorPolicy(
                                                new SessionConnectionStateErrorPolicy()));
        Log<ConnectionState> states = statesOf(client);

        link.dropConnections();
        states.until(ConnectionState.SUSPENDED);
        assertTrue(!client.getConnectionStateErrorPolicy().isErrorState(ConnectionState.SUSPENDED));
        states.until(ConnectionState.RECONNECTED);
    }

    @Test
    void aCircuitBreakerHidesInterruptionsThatItWaitsOut() throws Exception {
        Link link = closing(new Link());
        CuratorFramework client =
                roughClient(
                        builder ->
                                builder.connectString(link.connectString())
                                        .ensembleTracker(false)
                                        .connectionStateListenerManagerFactory(
                                                ConnectionStateListenerManagerFactory
                                                        .circuitBreaking(new RetryForever(1_500))));
        Log<ConnectionState> states = statesOf(client);

        link.dropConnections();
        states.until(ConnectionState.SUSPENDED); // From here on the circuit is open.
        client.getData().forPath(root); // Connected again.
        link.dropConnections();
        client.getData().forPath(root);

        assertEquals(ConnectionState.RECONNECTED, states.next());
    }

    private static int negotiatedMs(CuratorFramework client) throws Exception {
        return client.getZookeeperClient().getZooKeeper().getSessionTimeout();
    }
}
