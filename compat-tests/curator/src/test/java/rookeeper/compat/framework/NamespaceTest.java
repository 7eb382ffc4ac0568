package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.CuratorEvent;
import org.apache.curator.framework.api.CuratorWatcher;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.Server;
import rookeeper.compat.support.ServerTest;

import java.util.List;

/** Clients that see only a part of the tree: Curator's namespaces and the protocol's chroot. */
class NamespaceTest extends ServerTest {
    @Test
    void aNamespaceIsMadeAndPrependedAndTakenAway() throws Exception {
        CuratorFramework plain = client();
        String namespace = at("ns").substring(1);
        CuratorFramework inside = client(builder -> builder.namespace(namespace));
        Stat stat = new Stat();

        assertEquals("/a", inside.create().storingStatIn(stat).forPath("/a", bytes("x")));
        assertEquals("/a/b", inside.create().creatingParentsIfNeeded().forPath("/a/b"));

        assertEquals("x", text(plain, at("ns/a")));
        assertEquals(stat.getCzxid(), plain.checkExists().forPath(at("ns/a")).getCzxid());
        assertEquals(List.of("a"), inside.getChildren().forPath("/"));
        assertEquals(
                "/s-0000000001",
                inside.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/s-"));
        assertEquals(namespace, inside.getNamespace());
        assertNotNull(inside.usingNamespace(null).checkExists().forPath(at("ns")));
    }

    @Test
    void viewsOfOneClientShareItsSession() throws Exception {
        CuratorFramework client = client();
        CuratorFramework view = client.usingNamespace(at("view").substring(1));

        view.create().withMode(CreateMode.EPHEMERAL).forPath("/e");

        assertEquals(
                client.getZookeeperClient().getZooKeeper().getSessionId(),
                client.checkExists().forPath(at("view/e")).getEphemeralOwner());
        assertEquals(
                List.of("view"),
                view.usingNamespace("curator-tests")
                        .getChildren()
                        .forPath(root.substring("/curator-tests".length())));
    }

    @Test
    void eventsAndResultsNameThePathInsideTheNamespace() throws Exception {
        CuratorFramework plain = client();
        CuratorFramework inside = client(builder -> builder.namespace(at("ns").substring(1)));
        Log<String> watched = new Log<>();
        Log<CuratorEvent> called = new Log<>();
        CuratorWatcher watcher = event -> watched.add(event.getType() + " " + event.getPath());

        inside.create().forPath("/a");
        inside.getData().usingWatcher(watcher).forPath("/a");
        plain.setData().forPath(at("ns/a"), bytes("1"));
        assertEquals("NodeDataChanged /a", watched.next());
        inside.create().inBackground((c, event) -> called.add(event)).forPath("/b");
        CuratorEvent created = called.next();
        assertEquals("/b", created.getPath());
        assertEquals("/b", created.getName());
        inside.transaction().forOperations(inside.transactionOp().create().forPath("/c"));
        assertEquals(3, plain.getChildren().forPath(at("ns")).size());
    }

    @Test
    void recipesWorkInANamespace() throws Exception {
        CuratorFramework plain = client();
        CuratorFramework inside = client(builder -> builder.namespace(at("ns").substring(1)));
        InterProcessMutex lock = new InterProcessMutex(inside, "/lock");

        lock.acquire();

        assertEquals(1, lock.getParticipantNodes().size());
        assertTrue(lock.getParticipantNodes().iterator().next().startsWith("/lock/"));
        assertEquals(1, plain.getChildren().forPath(at("ns/lock")).size());
        lock.release();
        awaitChildren(plain, at("ns/lock"), 0);
    }

    @Test
    void aChrootedClientSeesItsSubtreeAsTheWholeTree() throws Exception {
        CuratorFramework plain = client();
        plain.create().forPath(at("jail"));
        CuratorFramework inside =
                client(builder -> builder.connectString(Server.CONNECT + at("jail")));
        Log<String> watched = new Log<>();
        CuratorWatcher watcher = event -> watched.add(event.getType() + " " + event.getPath());

        assertNull(inside.checkExists().usingWatcher(watcher).forPath("/a"));
        assertEquals("/a", inside.create().forPath("/a", bytes("x")));

        assertEquals("NodeCreated /a", watched.next());
        assertEquals("x", text(plain, at("jail/a")));
        assertEquals(List.of("a"), inside.getChildren().forPath("/"));
        assertEquals(
                plain.checkExists().forPath(at("jail")).getCzxid(),
                inside.checkExists().forPath("/").getCzxid());
    }

    @Test
    void aNamespaceWithinAChrootIsBelowIt() throws Exception {
        CuratorFramework plain = client();
        plain.create().forPath(at("jail"));
        CuratorFramework inside =
                client(
                        builder ->
                                builder.connectString(Server.CONNECT + at("jail"))
                                        .namespace("cell"));

        inside.create().creatingParentContainersIfNeeded().forPath("/a/b", bytes("x"));

        assertEquals("x", text(plain, at("jail/cell/a/b")));
    }
}
