package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentEphemeralNode;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.Set;
import java.util.concurrent.TimeUnit;

/** Nodes that their makers keep alive. */
class NodesTest extends ServerTest {
    @Test
    void aPersistentNodeComesBackWhenItIsDeleted() throws Exception {
        CuratorFramework other = client();
        PersistentNode node = node(client(), CreateMode.EPHEMERAL, false);
        Log<String> created = new Log<>();
        node.getListenable().addListener(created::add);
        long first = other.checkExists().forPath(node.getActualPath()).getCzxid();

        other.delete().forPath(node.getActualPath());

        awaitNewer(other, at("p/node"), first);
        assertEquals("x", text(other, at("p/node")));
        created.until(at("p/node"));
        node.setData(bytes("y"));
        eventually("it is written", () -> text(other, at("p/node")).equals("y"));
        node.close();
        assertNull(other.checkExists().forPath(at("p/node")));
    }

    @Test
    void aPersistentNodeReturnsWithANewSession() throws Exception {
        CuratorFramework victim = roughClient();
        CuratorFramework other = client();
        PersistentNode node = node(victim, CreateMode.EPHEMERAL, false);
        long session = Sessions.idOf(victim);
        long first = other.checkExists().forPath(at("p/node")).getCzxid();
        Log<ConnectionState> states = statesOf(victim);
        Log<String> created = new Log<>();
        node.getListenable().addListener(created::add);

        Sessions.end(victim);
        states.until(ConnectionState.RECONNECTED);
        awaitNewer(other, at("p/node"), first);
        created.until(at("p/node"));

        long owner = other.checkExists().forPath(at("p/node")).getEphemeralOwner();
        assertNotEquals(session, owner);
        assertEquals(Sessions.idOf(victim), owner);
    }

    @Test
    void aPersistentNodeMayBeOfAnyKind() throws Exception {
        CuratorFramework client = client();

        PersistentNode sequential = node(client, CreateMode.EPHEMERAL_SEQUENTIAL, true);
        String path = sequential.getActualPath();
        assertTrue(path.matches(".*/p/_c_.*-node0000000000"), path);
        client.delete().forPath(path);
        eventually("made again", () -> client.checkExists().forPath(path) != null);
        sequential.close();

        PersistentNode lasting = node(client, CreateMode.PERSISTENT, false);
        assertEquals(0, client.checkExists().forPath(at("p/node")).getEphemeralOwner());
        lasting.close();
        assertNull(client.checkExists().forPath(at("p/node")));

        PersistentNode container = node(client, CreateMode.CONTAINER, false);
        client.create().forPath(at("p/node/child"));
        client.delete().forPath(at("p/node/child"));
        long first = client.checkExists().forPath(at("p/node")).getCzxid();
        awaitNewer(client, at("p/node"), first); // Reaped by the server, made again by the recipe.
        container.close();
    }

    @Test
    void thePersistentEphemeralNodeOfOldIsStillOne() throws Exception {
        CuratorFramework client = client();
        for (PersistentEphemeralNode.Mode mode : PersistentEphemeralNode.Mode.values()) {
            PersistentEphemeralNode node =
                    closing(
                            new PersistentEphemeralNode(
                                    client, mode, at("old-" + mode), bytes("x")));
            node.start();
            assertTrue(node.waitForInitialCreate(SOON_MS, TimeUnit.MILLISECONDS));

            assertEquals(
                    Sessions.idOf(client),
                    client.checkExists().forPath(node.getActualPath()).getEphemeralOwner());
        }
        assertEquals(4, client.getChildren().forPath(root).size());
    }

    @Test
    void aTtlNodeLastsAsLongAsItIsTouched() throws Exception {
        CuratorFramework client = client();
        long ttlMs = 1_500;
        PersistentTtlNode node =
                closing(new PersistentTtlNode(client, at("ttl"), ttlMs, bytes("x")));
        node.start();
        assertTrue(node.waitForInitialCreate(SOON_MS, TimeUnit.MILLISECONDS));
        // The same kind of node, untouched, shows when its time would have been over.
        client.create().withTtl(ttlMs).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath(at("idle"));

        awaitDeleted(client, at("idle"));
        assertEquals("x", text(client, at("ttl")));
        assertNotNull(client.checkExists().forPath(at("ttl/touch")));
        node.close();

        awaitDeleted(client, at("ttl"));
    }

    @Test
    void aGroupKnowsItsMembers() throws Exception {
        CuratorFramework victim = roughClient();
        GroupMember one = closing(new GroupMember(client(), at("group"), "one", bytes("1")));
        GroupMember two = closing(new GroupMember(client(), at("group"), "two", bytes("2")));
        GroupMember doomed = new GroupMember(victim, at("group"), "doomed", bytes("3"));
        one.start();
        two.start();
        doomed.start();

        awaitMembers(one, Set.of("one", "two", "doomed"));
        awaitMembers(two, Set.of("one", "two", "doomed"));
        assertEquals("2", text(one.getCurrentMembers().get("two")));
        two.setThisData(bytes("two's new data"));
        eventually(
                "the new data is seen",
                () -> text(one.getCurrentMembers().get("two")).equals("two's new data"));
        two.close();
        awaitMembers(one, Set.of("one", "doomed"));
        victim.close();
        awaitMembers(one, Set.of("one"));
    }

    private PersistentNode node(CuratorFramework client, CreateMode mode, boolean isProtected)
            throws Exception {
        PersistentNode node =
                closing(new PersistentNode(client, mode, isProtected, at("p/node"), bytes("x")));
        node.start();
        assertTrue(node.waitForInitialCreate(SOON_MS, TimeUnit.MILLISECONDS));
        return node;
    }

    /** Waits until a node is there that was made after the one with {@code czxid}. */
    private static void awaitNewer(CuratorFramework client, String path, long czxid)
            throws Exception {
        eventually(
                "a new " + path,
                () -> {
                    Stat stat = client.checkExists().forPath(path);
                    return stat != null && stat.getCzxid() > czxid;
                });
    }

    private static void awaitMembers(GroupMember member, Set<String> ids) throws Exception {
        eventually("the members are " + ids, () -> member.getCurrentMembers().keySet().equals(ids));
    }
}
