package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorTempFramework;
import org.apache.curator.framework.EnsureContainers;
import org.apache.curator.framework.schema.Schema;
import org.apache.curator.framework.schema.SchemaSet;
import org.apache.curator.framework.schema.SchemaViolation;
import org.apache.curator.utils.ZKPaths;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.ServerTest;

import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Creating, reading, writing and deleting nodes. */
class CrudTest extends ServerTest {
    @Test
    void aNodeKeepsItsBooksThroughItsLife() throws Exception {
        CuratorFramework client = client();

        String path = client.create().forPath(at("a"), bytes("one"));
        assertEquals(at("a"), path);
        Stat created = client.checkExists().forPath(path);
        assertEquals(0, created.getVersion());
        assertEquals(3, created.getDataLength());
        assertEquals(0, created.getNumChildren());
        assertEquals(0, created.getEphemeralOwner());
        assertEquals(created.getCzxid(), created.getMzxid());
        assertEquals(created.getCzxid(), created.getPzxid());

        Stat written = client.setData().forPath(path, bytes("three"));
        assertEquals(1, written.getVersion());
        assertEquals(5, written.getDataLength());
        assertEquals(created.getCzxid(), written.getCzxid());
        assertTrue(written.getMzxid() > created.getMzxid());

        client.create().forPath(at("a/child"));
        Stat parent = new Stat();
        assertEquals("three", text(client.getData().storingStatIn(parent).forPath(path)));
        assertEquals(1, parent.getNumChildren());
        assertEquals(1, parent.getCversion());
        assertEquals(written.getMzxid(), parent.getMzxid());
        assertTrue(parent.getPzxid() > parent.getMzxid());

        client.delete().forPath(at("a/child"));
        assertEquals(2, client.checkExists().forPath(path).getCversion());
        client.delete().forPath(path);
        assertNull(client.checkExists().forPath(path));
    }

    @Test
    void refusalsComeAsTheirOwnExceptions() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("a"), bytes("0"));
        client.create().forPath(at("a/b"));

        assertThrows(
                KeeperException.NodeExistsException.class, () -> client.create().forPath(at("a")));
        assertThrows(
                KeeperException.NoNodeException.class, () -> client.create().forPath(at("x/y")));
        assertThrows(
                KeeperException.NoNodeException.class, () -> client.getData().forPath(at("x")));
        assertThrows(
                KeeperException.NoNodeException.class, () -> client.getChildren().forPath(at("x")));
        assertThrows(
                KeeperException.NoNodeException.class, () -> client.setData().forPath(at("x")));
        assertThrows(KeeperException.NoNodeException.class, () -> client.delete().forPath(at("x")));
        assertThrows(
                KeeperException.NotEmptyException.class, () -> client.delete().forPath(at("a")));
        assertThrows(
                KeeperException.BadVersionException.class,
                () -> client.setData().withVersion(7).forPath(at("a"), bytes("1")));
        assertThrows(
                KeeperException.BadVersionException.class,
                () -> client.delete().withVersion(7).forPath(at("a/b")));

        assertEquals("0", text(client, at("a")));
        assertEquals(0, client.checkExists().forPath(at("a")).getVersion());
    }

    @Test
    void versionsGuardWritesAndDeletes() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("a"), bytes("0"));

        Stat first = client.setData().withVersion(0).forPath(at("a"), bytes("1"));
        assertEquals(1, first.getVersion());
        assertThrows(
                KeeperException.BadVersionException.class,
                () -> client.setData().withVersion(0).forPath(at("a"), bytes("2")));
        client.delete().withVersion(1).forPath(at("a"));
        assertNull(client.checkExists().forPath(at("a")));
    }

    @Test
    void parentsAreMadeAndChildrenDeletedOnRequest() throws Exception {
        CuratorFramework client = client();

        client.create().creatingParentsIfNeeded().forPath(at("a/b/c/d"), bytes("x"));
        client.create().creatingParentsIfNeeded().forPath(at("a/b/e"), bytes("y"));
        assertEquals(List.of("c", "e"), sorted(client.getChildren().forPath(at("a/b"))));
        client.checkExists().creatingParentsIfNeeded().forPath(at("p/q"));
        assertNotNull(client.checkExists().forPath(at("p")));
        assertNull(client.checkExists().forPath(at("p/q")));
        client.createContainers(at("r/s"));
        assertNotNull(client.checkExists().forPath(at("r/s")));

        client.delete().guaranteed().deletingChildrenIfNeeded().forPath(at("a"));
        assertNull(client.checkExists().forPath(at("a")));
        client.delete().quietly().forPath(at("a"));
    }

    @Test
    void createOrSetDataWritesEitherWay() throws Exception {
        CuratorFramework client = client();
        Stat stat = new Stat();

        client.create().orSetData().forPath(at("a"), bytes("1"));
        client.create().orSetData().storingStatIn(stat).forPath(at("a"), bytes("2"));
        assertEquals("2", text(client, at("a")));
        assertEquals(1, stat.getVersion());
        client.create().orSetData(1).forPath(at("a"), bytes("3"));
        assertThrows(
                KeeperException.BadVersionException.class,
                () -> client.create().orSetData(1).forPath(at("a"), bytes("4")));
        assertEquals("3", text(client, at("a")));
    }

    @Test
    void idempotentRequestsMayBeRepeated() throws Exception {
        CuratorFramework client = client();

        client.create().idempotent().forPath(at("a"), bytes("1"));
        client.create().idempotent().forPath(at("a"), bytes("1"));
        assertThrows(
                KeeperException.NodeExistsException.class,
                () -> client.create().idempotent().forPath(at("a"), bytes("other")));

        client.setData().idempotent().withVersion(0).forPath(at("a"), bytes("2"));
        client.setData().idempotent().withVersion(0).forPath(at("a"), bytes("2"));
        assertEquals(1, client.checkExists().forPath(at("a")).getVersion());
        assertThrows(
                KeeperException.BadVersionException.class,
                () -> client.setData().idempotent().withVersion(0).forPath(at("a"), bytes("3")));

        client.delete().idempotent().withVersion(1).forPath(at("a"));
        client.delete().idempotent().withVersion(1).forPath(at("a"));
        assertNull(client.checkExists().forPath(at("a")));
    }

    @Test
    void dataIsKeptByteForByte() throws Exception {
        CuratorFramework client = client();
        byte[] all = new byte[256];
        for (int i = 0; i < all.length; i++) {
            all[i] = (byte) i;
        }
        byte[] large = new byte[1_000_000];
        new Random(1).nextBytes(large);

        client.create().forPath(at("all"), all);
        client.create().forPath(at("large"), large);
        client.create().forPath(at("empty"), new byte[0]);
        client.create().forPath(at("null"), null);

        assertArrayEquals(all, client.getData().forPath(at("all")));
        assertArrayEquals(large, client.getData().forPath(at("large")));
        assertArrayEquals(new byte[0], client.getData().forPath(at("empty")));
        assertNull(client.getData().forPath(at("null")));
        assertEquals(0, client.checkExists().forPath(at("null")).getDataLength());
    }

    @Test
    void pathsMayHoldAnyLetter() throws Exception {
        CuratorFramework client = client();
        List<String> names = List.of("Ürümqi", "with space", "東京", "a.b", "...", "-", "a:b=c");

        for (String name : names) {
            client.create().forPath(at(name), bytes(name));
        }

        assertEquals(sorted(names), sorted(client.getChildren().forPath(root)));
        for (String name : names) {
            assertEquals(name, text(client, at(name)));
        }
    }

    @Test
    void aThousandChildrenAreAllListed() throws Exception {
        CuratorFramework client = client();
        int count = 1_000;
        CountDownLatch done = new CountDownLatch(count);

        for (int i = 0; i < count; i++) {
            client.create()
                    .inBackground(
                            (c, event) -> {
                                assertEquals(0, event.getResultCode());
                                done.countDown();
                            })
                    .forPath(at("n" + i), new byte[0]);
        }
        await(done);

        Stat stat = new Stat();
        List<String> children = client.getChildren().storingStatIn(stat).forPath(root);
        List<String> expected =
                IntStream.range(0, count).mapToObj(i -> "n" + i).collect(Collectors.toList());
        assertEquals(sorted(expected), sorted(children));
        assertEquals(count, stat.getNumChildren());
    }

    @Test
    void compressedDataComesBackAsItWas() throws Exception {
        CuratorFramework plain = client();
        CuratorFramework compressing = client(builder -> builder.enableCompression());
        byte[] data = bytes("abc".repeat(1_000));

        plain.create().compressed().forPath(at("a"), data);
        assertArrayEquals(data, plain.getData().decompressed().forPath(at("a")));
        assertTrue(plain.checkExists().forPath(at("a")).getDataLength() < data.length / 10);
        plain.setData().compressed().forPath(at("a"), bytes("z"));
        assertEquals("z", text(compressing, at("a")));

        compressing.create().forPath(at("b"), data);
        assertArrayEquals(data, plain.getData().decompressed().forPath(at("b")));
        compressing.create().uncompressed().forPath(at("c"), data);
        assertArrayEquals(data, plain.getData().forPath(at("c")));
    }

    @Test
    void theDefaultDataIsTheClientsChoice() throws Exception {
        CuratorFramework client = client(builder -> builder.defaultData(bytes("default")));

        client.create().forPath(at("a"));

        assertEquals("default", text(client, at("a")));
    }

    @Test
    void theHelpersForPathsWork() throws Exception {
        CuratorFramework client = client();
        ZooKeeper zk = client.getZookeeperClient().getZooKeeper();

        ZKPaths.mkdirs(zk, at("a/b/c"));
        ZKPaths.mkdirs(zk, at("a/b/c"));
        ZKPaths.mkdirs(zk, at("a/b/skipped"), false);
        client.create().forPath(at("a/b/b"));
        assertEquals(List.of("b", "c"), ZKPaths.getSortedChildren(zk, at("a/b")));
        ZKPaths.deleteChildren(zk, at("a"), false);
        assertEquals(List.of(), client.getChildren().forPath(at("a")));

        new EnsureContainers(client, at("containers/below")).ensure();
        assertNotNull(client.checkExists().forPath(at("containers/below")));
        client.newNamespaceAwareEnsurePath(at("ensured/path")).ensure(client.getZookeeperClient());
        assertNotNull(client.checkExists().forPath(at("ensured/path")));
    }

    @Test
    void aTemporaryClientWorksAndClosesItself() throws Exception {
        CuratorFramework client = client();
        CuratorTempFramework temporary = closing(builder().buildTemp(500, TimeUnit.MILLISECONDS));

        temporary
                .inTransaction()
                .create()
                .forPath(at("a"), bytes("1"))
                .and()
                .setData()
                .forPath(at("a"), bytes("2"))
                .and()
                .commit();

        assertEquals("2", text(temporary.getData().forPath(at("a"))));
        assertEquals("2", text(client, at("a")));
    }

    @Test
    void aSchemaIsEnforcedBeforeTheServerIsAsked() throws Exception {
        Schema schema =
                Schema.builder(at("guarded"))
                        .name("guarded")
                        .ephemeral(Schema.Allowance.CANNOT)
                        .canBeDeleted(false)
                        .build();
        CuratorFramework client =
                client(builder -> builder.schemaSet(new SchemaSet(List.of(schema), true)));

        String path = SchemaSet.getNamedPath(client, "guarded");
        client.create().forPath(path, bytes("1"));
        assertThrows(SchemaViolation.class, () -> client.delete().forPath(path));
        assertEquals("1", text(client, path));
    }

    @Test
    void theRarerRequestsOfTheJavaClientAreAnswered() throws Exception {
        CuratorFramework client = client();
        ZooKeeper zk = client.getZookeeperClient().getZooKeeper();
        client.create().creatingParentsIfNeeded().forPath(at("a/b/c"), bytes("x"));
        String ephemeral = client.create().withMode(CreateMode.EPHEMERAL).forPath(at("a/e"));

        assertEquals(3, zk.getAllChildrenNumber(at("a")));
        assertEquals(List.of(ephemeral), zk.getEphemerals(root));
        assertEquals(List.of(), zk.getEphemerals(at("a/b")));
        assertTrue(
                zk.whoAmI().stream().anyMatch(info -> info.getAuthScheme().equals("ip")),
                "everybody has an ip identity");

        List<OpResult> results =
                zk.multi(
                        List.of(
                                Op.getChildren(at("a")),
                                Op.getData(at("a/b/c")),
                                Op.getData(at("missing"))));
        assertEquals(
                List.of("b", "e"),
                sorted(((OpResult.GetChildrenResult) results.get(0)).getChildren()));
        assertEquals("x", text(((OpResult.GetDataResult) results.get(1)).getData()));
        assertEquals(
                KeeperException.Code.NONODE.intValue(),
                ((OpResult.ErrorResult) results.get(2)).getErr());
    }

    @Test
    void zxidsRiseWithEveryWriteOfAnyClient() throws Exception {
        CuratorFramework one = client();
        CuratorFramework two = client();
        long last = 0;

        for (int i = 0; i < 10; i++) {
            Stat stat = new Stat();
            (i % 2 == 0 ? one : two).create().storingStatIn(stat).forPath(at("n" + i));
            assertTrue(stat.getCzxid() > last, "node " + i);
            last = stat.getCzxid();
        }
        assertEquals(last, one.checkExists().forPath(root).getPzxid());
        assertNotEquals(0, last);
        assertFalse(one.getChildren().forPath(root).isEmpty());
    }

    private static List<String> sorted(List<String> names) {
        return names.stream().sorted().collect(Collectors.toList());
    }
}
