package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.retry.RetryOneTime;
import org.apache.curator.utils.ZKPaths;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Link;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.List;

/** Every kind of node, and what becomes of it. */
class CreateModesTest extends ServerTest {
    @Test
    void sequentialNamesCountAllChildrenEverMade() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("plain"));

        String first = sequential(client, CreateMode.PERSISTENT_SEQUENTIAL);
        String second = sequential(client, CreateMode.EPHEMERAL_SEQUENTIAL);
        client.delete().forPath(second);
        String third = sequential(client, CreateMode.PERSISTENT_SEQUENTIAL);

        assertEquals(at("s-0000000001"), first);
        assertEquals(at("s-0000000002"), second);
        assertEquals(at("s-0000000003"), third);
    }

    @Test
    void anEphemeralLivesAndDiesWithItsSession() throws Exception {
        CuratorFramework witness = client();
        CuratorFramework owner = client();

        String path = owner.create().withMode(CreateMode.EPHEMERAL).forPath(at("e"), bytes("x"));

        assertEquals(Sessions.idOf(owner), witness.checkExists().forPath(path).getEphemeralOwner());
        assertThrows(
                KeeperException.NoChildrenForEphemeralsException.class,
                () -> witness.create().forPath(at("e/child")));
        owner.close();
        awaitDeleted(witness, path);
    }

    @Test
    void aContainerGoesWithItsLastChild() throws Exception {
        CuratorFramework client = client();
        client.create().withMode(CreateMode.CONTAINER).forPath(at("used"), bytes("c"));
        client.create().withMode(CreateMode.CONTAINER).forPath(at("unused"));
        client.create().forPath(at("used/a"));
        client.create().forPath(at("used/b"));

        assertEquals(0, client.checkExists().forPath(at("used")).getEphemeralOwner());
        assertEquals("c", text(client, at("used")));
        client.delete().forPath(at("used/a"));
        outliveAReaping(client);
        assertNotNull(client.checkExists().forPath(at("used")), "it still has a child");
        client.delete().forPath(at("used/b"));

        awaitDeleted(client, at("used"));
        assertNotNull(client.checkExists().forPath(at("unused")), "it never had a child");
    }

    @Test
    void containerParentsGoOneAfterTheOther() throws Exception {
        CuratorFramework client = client();

        client.create().creatingParentContainersIfNeeded().forPath(at("a/b/c/leaf"));
        client.delete().forPath(at("a/b/c/leaf"));

        awaitDeleted(client, at("a/b/c"));
        awaitDeleted(client, at("a"));
        assertNotNull(client.checkExists().forPath(root));
    }

    @Test
    void clientsThatDeclineContainersGetLastingParents() throws Exception {
        CuratorFramework client = client(builder -> builder.dontUseContainerParents());

        client.create().creatingParentContainersIfNeeded().forPath(at("a/b/leaf"));
        client.delete().forPath(at("a/b/leaf"));
        outliveAReaping(client);

        assertNotNull(client.checkExists().forPath(at("a/b")));
    }

    @Test
    void aNodeWithATtlGoesUnlessItIsWrittenOrHasChildren() throws Exception {
        CuratorFramework client = client();
        long ttlMs = 1_500;
        createTtl(client, ttlMs, at("idle"));
        createTtl(client, ttlMs, at("parent"));
        client.create().forPath(at("parent/child"));
        createTtl(client, ttlMs, at("written"));

        // It is written until well after the idle one is gone, often enough to stay.
        Stat idle = client.checkExists().forPath(at("idle"));
        long created = System.nanoTime();
        while (client.checkExists().forPath(at("idle")) != null) {
            client.setData().forPath(at("written"), bytes("again"));
            assertTrue((System.nanoTime() - created) / 1_000_000 < SOON_MS, "idle stays for ever");
            Thread.sleep(50);
        }

        long livedMs = System.currentTimeMillis() - idle.getMtime();
        assertTrue(livedMs >= ttlMs, "gone after only " + livedMs + " ms");
        assertEquals(0, idle.getEphemeralOwner());
        assertNotNull(client.checkExists().forPath(at("written")));
        assertNotNull(client.checkExists().forPath(at("parent")));
        awaitDeleted(client, at("written"));
        client.delete().forPath(at("parent/child"));
        awaitDeleted(client, at("parent"));
    }

    @Test
    void aSequentialNodeMayHaveATtl() throws Exception {
        CuratorFramework client = client();

        String path =
                client.create()
                        .withTtl(500)
                        .creatingParentsIfNeeded()
                        .withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL)
                        .forPath(at("p/ttl-"));

        assertEquals(at("p/ttl-0000000000"), path);
        awaitDeleted(client, path);
        assertNotNull(client.checkExists().forPath(at("p")));
    }

    @Test
    void aProtectedNameCarriesAnId() throws Exception {
        CuratorFramework client = client();

        String path =
                client.create()
                        .creatingParentContainersIfNeeded()
                        .withProtection()
                        .withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                        .forPath(at("p/n-"), bytes("x"));
        String old = client.create().withProtectedEphemeralSequential().forPath(at("p/n-"));

        String pattern = "_c_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-n-000000000";
        assertTrue(ZKPaths.getNodeFromPath(path).matches(pattern + "0"), path);
        assertTrue(ZKPaths.getNodeFromPath(old).matches(pattern + "1"), old);
        assertEquals(2, client.getChildren().forPath(at("p")).size());
    }

    @Test
    void protectionFindsTheNodeWhoseReplyWasLost() throws Exception {
        Link link = closing(new Link());
        CuratorFramework client = clientOver(link, LONG_SESSION_MS);
        client.create().forPath(at("protected"));
        client.create().forPath(at("bare"));

        link.loseNextReply();
        String path =
                client.create()
                        .withProtection()
                        .withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                        .forPath(at("protected/n-"));
        assertTrue(link.hasLostReply());
        assertEquals(
                List.of(ZKPaths.getNodeFromPath(path)),
                client.getChildren().forPath(at("protected")));
        assertTrue(path.endsWith("-n-0000000000"), "the first attempt made it: " + path);

        // Without protection the repeated request makes a second node: the loss was real.
        link.loseNextReply();
        client.create().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath(at("bare/n-"));
        assertTrue(link.hasLostReply());
        assertEquals(2, client.getChildren().forPath(at("bare")).size());
    }

    @Test
    void aGuaranteedDeleteHappensAlthoughTheConnectionFails() throws Exception {
        CuratorFramework witness = client();
        Link link = closing(new Link());
        CuratorFramework client =
                roughClient(
                        builder ->
                                builder.connectString(link.connectString())
                                        .ensembleTracker(false)
                                        .connectionTimeoutMs(500)
                                        .retryPolicy(new RetryOneTime(10)));
        String path = client.create().forPath(at("a"));

        link.cut();
        assertThrows(KeeperException.class, () -> client.delete().guaranteed().forPath(path));
        assertNotNull(witness.checkExists().forPath(path));
        link.mend();

        awaitDeleted(witness, path);
    }

    @Test
    void modesComeBackAsAsked() throws Exception {
        CuratorFramework client = client();
        long session = Sessions.idOf(client);

        for (CreateMode mode : CreateMode.values()) {
            Stat stat = new Stat();
            String path = at(mode.name().toLowerCase());
            String actual =
                    mode.isTTL()
                            ? client.create()
                                    .withTtl(60_000)
                                    .storingStatIn(stat)
                                    .withMode(mode)
                                    .forPath(path)
                            : client.create().storingStatIn(stat).withMode(mode).forPath(path);

            assertEquals(mode.isEphemeral() ? session : 0, stat.getEphemeralOwner(), mode.name());
            assertEquals(mode.isSequential(), !actual.equals(path), mode.name());
            assertNotEquals(0, stat.getCzxid(), mode.name());
        }
        client.delete().deletingChildrenIfNeeded().forPath(root);
        assertNull(client.checkExists().forPath(root));
    }

    /** Returns after the server has looked for containers to reap at least once. */
    private void outliveAReaping(CuratorFramework client) throws Exception {
        String clock = root + "/clock";
        client.create().withMode(CreateMode.CONTAINER).forPath(clock);
        client.create().forPath(clock + "/tick");
        client.delete().forPath(clock + "/tick");
        awaitDeleted(client, clock);
    }

    private String sequential(CuratorFramework client, CreateMode mode) throws Exception {
        return client.create().withMode(mode).forPath(at("s-"));
    }

    private static void createTtl(CuratorFramework client, long ttlMs, String path)
            throws Exception {
        client.create().withTtl(ttlMs).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath(path);
    }
}
