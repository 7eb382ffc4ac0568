package rookeeper.compat.support;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.curator.framework.AuthInfo;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.CuratorWatcher;
import org.apache.curator.framework.listen.UnaryListenerManager;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.framework.state.ConnectionStateListener;
import org.apache.curator.framework.state.ConnectionStateListenerManagerFactory;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.KeeperException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.TestInfo;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/**
 * What every test here has: a subtree of its own, clients that are closed after it, and waits that
 * end.
 *
 * <p>A client from {@link #client()} must keep its connection for the whole test; if the server
 * drops it even once the test fails, although Curator would have hidden it by reconnecting. Tests
 * that break connections on purpose use {@link #roughClient}.
 */
public abstract class ServerTest {
    /** A bound for whatever should happen at once, or within a few ticks; never waited in full. */
    public static final long SOON_MS = 20_000;

    /** The longest session the server grants, so that a slow machine does not end it. */
    protected static final int LONG_SESSION_MS = 20 * Server.TICK_MS;

    private static final String TOP = "/curator-tests";

    /**
     * Makes and deletes the roots of all tests. It knows every password that the tests use, so that
     * it may delete whatever they leave.
     */
    private static final CuratorFramework JANITOR = janitor();

    private final Deque<AutoCloseable> closeables = new ArrayDeque<>();
    private final List<String> interruptions = new CopyOnWriteArrayList<>();
    private volatile boolean isEnding;
    private ExecutorService threads;

    /** The node under which this test works; it exists. */
    protected String root;

    @BeforeEach
    final void makeRoot(TestInfo test) throws Exception {
        threads = Executors.newCachedThreadPool();
        String name = test.getTestMethod().orElseThrow().getName();
        root = TOP + "/" + getClass().getSimpleName() + "/" + name;
        // Plain parents: the server may reap containers, and a test may count on its root.
        JANITOR.create().creatingParentsIfNeeded().forPath(root, new byte[0]);
    }

    @AfterEach
    final void cleanUp() throws Exception {
        isEnding = true;
        List<Throwable> failures = new ArrayList<>();
        while (!closeables.isEmpty()) {
            try {
                closeables.pop().close();
            } catch (Exception | AssertionError e) {
                failures.add(e);
            }
        }
        threads.shutdownNow();
        JANITOR.delete().quietly().deletingChildrenIfNeeded().forPath(root);
        assertEquals(List.of(), failures, "while closing");
        assertTrue(
                threads.awaitTermination(SOON_MS, TimeUnit.MILLISECONDS), "threads are left over");
        assertEquals(List.of(), interruptions, "a connection that nothing disturbs must last");
    }

    /** A started, connected client whose connection must hold until the end of the test. */
    protected final CuratorFramework client() throws Exception {
        return client(builder -> builder);
    }

    protected final CuratorFramework client(UnaryOperator<CuratorFrameworkFactory.Builder> how)
            throws Exception {
        CuratorFramework client = roughClient(how);
        client.getConnectionStateListenable()
                .addListener(
                        (c, state) -> {
                            if (!isEnding) {
                                interruptions.add(state.name());
                            }
                        });
        assertTrue(client.getZookeeperClient().isConnected(), "lost before it was listened to");
        return client;
    }

    /** A started, connected client whose connection or session the test is going to break. */
    protected final CuratorFramework roughClient() throws Exception {
        return roughClient(builder -> builder);
    }

    protected final CuratorFramework roughClient(UnaryOperator<CuratorFrameworkFactory.Builder> how)
            throws Exception {
        Announcement announcement = new Announcement();
        CuratorFramework client =
                closing(
                        how.apply(builder().connectionStateListenerManagerFactory(announcement))
                                .build());
        client.start();
        assertTrue(
                client.blockUntilConnected((int) SOON_MS, TimeUnit.MILLISECONDS), "no connection");
        announcement.awaitIfAsked();
        return client;
    }

    /** A client that reaches the server through {@code link}, and only through it. */
    protected final CuratorFramework clientOver(Link link, int sessionMs) throws Exception {
        return roughClient(
                builder ->
                        builder.connectString(link.connectString())
                                .ensembleTracker(false) // It could learn the direct way.
                                .sessionTimeoutMs(sessionMs));
    }

    protected static CuratorFrameworkFactory.Builder builder() {
        return CuratorFrameworkFactory.builder()
                .connectString(Server.CONNECT)
                .sessionTimeoutMs(LONG_SESSION_MS)
                .connectionTimeoutMs(5_000)
                .retryPolicy(new ExponentialBackoffRetry(50, 8, 2_000));
    }

    /** Has {@code closeable} closed after the test, before everything that was made earlier. */
    protected final <T extends AutoCloseable> T closing(T closeable) {
        closeables.push(closeable);
        return closeable;
    }

    /** Runs {@code work} in a thread of its own. */
    protected final <T> Future<T> inThread(Callable<T> work) {
        return threads.submit(work);
    }

    /** An executor whose threads end with the test. */
    protected final ExecutorService threads() {
        return threads;
    }

    /** The absolute path of a node of this test. */
    protected final String at(String name) {
        return root + "/" + name;
    }

    private static CuratorFramework janitor() {
        CuratorFramework janitor =
                builder()
                        .dontUseContainerParents()
                        .authorization(
                                List.of(
                                        new AuthInfo("digest", bytes(Passwords.OWNER)),
                                        new AuthInfo("digest", bytes(Passwords.GUEST))))
                        .build();
        janitor.start();
        return janitor;
    }

    /**
     * Waits until {@code client} has handled the events and answers that were on their way to it,
     * and the answers to what it asked because of them.
     */
    protected static void passQueue(CuratorFramework client) throws Exception {
        for (int round = 0; round < 2; round++) {
            CountDownLatch passed = new CountDownLatch(1);
            client.sync().inBackground((c, event) -> passed.countDown()).forPath("/");
            await(passed);
        }
    }

    // ---- Waits ----------------------------------------------------------------------------------

    protected static <T> T get(Future<T> future) throws Exception {
        return future.get(SOON_MS, TimeUnit.MILLISECONDS);
    }

    protected static <T> T get(CompletionStage<T> stage) throws Exception {
        return get(stage.toCompletableFuture());
    }

    /** A future that is a stage as well. */
    protected static <T> T get(CompletableFuture<T> future) throws Exception {
        return get((Future<T>) future);
    }

    protected static void await(CountDownLatch latch) throws InterruptedException {
        assertTrue(
                latch.await(SOON_MS, TimeUnit.MILLISECONDS), latch.getCount() + " still missing");
    }

    /** For conditions that nobody announces; where there is a callback, wait for that. */
    protected static void eventually(String what, Callable<Boolean> holds) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(SOON_MS);
        while (!holds.call()) {
            if (System.nanoTime() > deadline) {
                fail("not within " + SOON_MS + " ms: " + what);
            }
            Thread.sleep(10);
        }
    }

    /** Waits until {@code path} is gone, by watching it. */
    protected static void awaitDeleted(CuratorFramework client, String path) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(SOON_MS);
        while (true) {
            CountDownLatch changed = new CountDownLatch(1);
            CuratorWatcher watcher = event -> changed.countDown();
            if (client.checkExists().usingWatcher(watcher).forPath(path) == null) {
                return;
            }
            if (!changed.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS)) {
                fail(path + " is still there");
            }
        }
    }

    /** Waits until {@code parent} has exactly {@code count} children, by watching it. */
    protected static List<String> awaitChildren(CuratorFramework client, String parent, int count)
            throws Exception {
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(SOON_MS);
        while (true) {
            CountDownLatch changed = new CountDownLatch(1);
            CuratorWatcher watcher = event -> changed.countDown();
            List<String> children = List.of();
            if (client.checkExists().usingWatcher(watcher).forPath(parent) != null) {
                try {
                    children = client.getChildren().usingWatcher(watcher).forPath(parent);
                } catch (KeeperException.NoNodeException e) {
                    continue; // Deleted in between.
                }
            }
            if (children.size() == count) {
                return children;
            }
            if (!changed.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS)) {
                fail(parent + " should have " + count + " children, not " + children);
            }
        }
    }

    /** The connection states of {@code client} from now on. */
    protected static Log<ConnectionState> statesOf(CuratorFramework client) {
        Log<ConnectionState> states = new Log<>();
        ConnectionStateListener listener = (c, state) -> states.add(state);
        client.getConnectionStateListenable().addListener(listener);
        return states;
    }

    // ---- Bytes ----------------------------------------------------------------------------------

    protected static byte[] bytes(String text) {
        return text.getBytes(UTF_8);
    }

    protected static String text(byte[] bytes) {
        return new String(bytes, UTF_8);
    }

    protected static String text(CuratorFramework client, String path) throws Exception {
        return text(client.getData().forPath(path));
    }

    /**
     * Tells when a new client has told all its listeners that it is connected.
     *
     * <p>It does so in a thread of its own, so that recipes which are made as soon as the client is
     * connected may or may not hear of it, and some start over when they do.
     */
    private static final class Announcement implements ConnectionStateListenerManagerFactory {
        private final CountDownLatch isOver = new CountDownLatch(1);
        private boolean isAsked;

        void awaitIfAsked() throws InterruptedException {
            if (isAsked) { // Not when the client was given another factory.
                await(isOver);
            }
        }

        @Override
        public UnaryListenerManager<ConnectionStateListener> newManager(CuratorFramework client) {
            isAsked = true;
            UnaryListenerManager<ConnectionStateListener> manager = standard.newManager(client);
            return new UnaryListenerManager<>() {
                @Override
                public void forEach(Consumer<ConnectionStateListener> tell) {
                    manager.forEach(tell);
                    isOver.countDown();
                }

                @Override
                public void addListener(ConnectionStateListener listener) {
                    manager.addListener(listener);
                }

                @Override
                public void addListener(ConnectionStateListener listener, Executor executor) {
                    manager.addListener(listener, executor);
                }

                @Override
                public void removeListener(ConnectionStateListener listener) {
                    manager.removeListener(listener);
                }

                @Override
                public void clear() {
                    manager.clear();
                }

                @Override
                public int size() {
                    return manager.size();
                }
            };
        }
    }

    /** Credentials for the digest scheme. */
    public static final class Passwords {
        public static final String OWNER = "owner:secret";
        public static final String GUEST = "guest:secret";

        private Passwords() {}
    }
}
