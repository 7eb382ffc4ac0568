package rookeeper.compat.async;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.x.async.AsyncCuratorFramework;
import org.apache.curator.x.async.AsyncStage;
import org.apache.curator.x.async.api.DeleteOption;
import org.apache.curator.x.async.modeled.JacksonModelSerializer;
import org.apache.curator.x.async.modeled.ModelSpec;
import org.apache.curator.x.async.modeled.ModeledFramework;
import org.apache.curator.x.async.modeled.NodeName;
import org.apache.curator.x.async.modeled.ZNode;
import org.apache.curator.x.async.modeled.ZPath;
import org.apache.curator.x.async.modeled.cached.CachedModeledFramework;
import org.apache.curator.x.async.modeled.typed.TypedModeledFramework2;
import org.apache.curator.x.async.modeled.versioned.Versioned;
import org.apache.curator.x.async.modeled.versioned.VersionedModeledFramework;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;

import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;

/** Nodes as objects. */
class ModeledTest extends ServerTest {
    /** What the nodes hold. */
    public static final class Bird implements NodeName {
        public String name;
        public int eggs;

        public Bird() {}

        Bird(String name, int eggs) {
            this.name = name;
            this.eggs = eggs;
        }

        @Override
        public String nodeName() {
            return name;
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Bird
                    && ((Bird) other).name.equals(name)
                    && ((Bird) other).eggs == eggs;
        }

        @Override
        public int hashCode() {
            return Objects.hash(name, eggs);
        }

        @Override
        public String toString() {
            return name + " with " + eggs;
        }
    }

    private static final Bird ROOK = new Bird("rook", 4);
    private static final Bird CROW = new Bird("crow", 5);

    private CuratorFramework client;
    private AsyncCuratorFramework async;

    @BeforeEach
    void connect() throws Exception {
        client = client();
        async = AsyncCuratorFramework.wrap(client);
    }

    @Test
    void aModelIsWrittenAndReadBack() throws Exception {
        ModeledFramework<Bird> birds = ModeledFramework.wrap(async, spec("birds"));
        ModeledFramework<Bird> rook = birds.child(ROOK);
        Stat stat = new Stat();

        assertEquals(at("birds/rook"), get(rook.set(ROOK, stat)));
        assertEquals(0, stat.getVersion());
        assertEquals(ROOK, get(rook.read()));
        assertEquals(1, get(rook.update(new Bird("rook", 3), 0)).getVersion());
        ZNode<Bird> node = get(rook.readAsZNode());
        assertEquals(3, node.model().eggs);
        assertEquals(1, node.stat().getVersion());
        assertEquals(ZPath.parse(at("birds/rook")), node.path());
        get(birds.child(CROW).set(CROW));
        assertEquals(
                Set.of("rook", "crow"),
                get(birds.children()).stream().map(ZPath::nodeName).collect(Collectors.toSet()));
        assertEquals(
                Set.of(new Bird("rook", 3), CROW),
                Set.copyOf(get(ZNode.models(birds.childrenAsZNodes()))));
        assertNotNull(get(rook.checkExists()));
        assertRefused(KeeperException.BadVersionException.class, rook.delete(0));
        get(rook.delete());
        assertNull(get(rook.checkExists()));
        assertRefused(KeeperException.NoNodeException.class, rook.read());
        assertEquals(birds.modelSpec().path(), rook.parent().modelSpec().path());
    }

    @Test
    void theSpecSaysHowNodesAreMade() throws Exception {
        ModelSpec<Bird> ephemeral =
                ModelSpec.builder(path("e"), JacksonModelSerializer.build(Bird.class))
                        .withCreateMode(CreateMode.EPHEMERAL)
                        .withDeleteOptions(Set.of(DeleteOption.quietly))
                        .build();
        ModelSpec<Bird> ttl =
                ModelSpec.builder(path("t"), JacksonModelSerializer.build(Bird.class))
                        .withCreateMode(CreateMode.PERSISTENT_WITH_TTL)
                        .withTtl(500)
                        .build();

        get(ModeledFramework.wrap(async, ephemeral).set(ROOK));
        get(ModeledFramework.wrap(async, ttl).set(CROW));

        assertEquals(
                client.getZookeeperClient().getZooKeeper().getSessionId(),
                client.checkExists().forPath(at("e")).getEphemeralOwner());
        assertEquals(CROW, get(ModeledFramework.wrap(async, ttl).read()));
        awaitDeleted(client, at("t"));
        get(ModeledFramework.wrap(async, ephemeral).delete());
        get(ModeledFramework.wrap(async, ephemeral).delete());
    }

    @Test
    void modelsTakePartInTransactions() throws Exception {
        ModeledFramework<Bird> birds = ModeledFramework.wrap(async, spec("birds"));
        ModeledFramework<Bird> rook = birds.child(ROOK);
        ModeledFramework<Bird> crow = birds.child(CROW);
        get(rook.set(ROOK));

        List<CuratorTransactionResult> results =
                get(
                        birds.inTransaction(
                                List.of(
                                        rook.checkExistsOp(0),
                                        rook.updateOp(new Bird("rook", 2), 0),
                                        crow.createOp(CROW))));
        assertEquals(3, results.size());
        assertEquals(2, get(rook.read()).eggs);
        assertRefused(
                KeeperException.BadVersionException.class,
                birds.inTransaction(List.of(crow.deleteOp(), rook.deleteOp(0))));
        assertEquals(CROW, get(crow.read()));
    }

    @Test
    void versionsTravelWithTheirModels() throws Exception {
        VersionedModeledFramework<Bird> rook =
                ModeledFramework.wrap(async, spec("birds/rook")).versioned();

        get(rook.set(Versioned.from(ROOK, 0)));
        Versioned<Bird> read = get(rook.read());
        assertEquals(0, read.version());
        get(rook.update(Versioned.from(new Bird("rook", 1), read.version())));

        assertRefused(KeeperException.BadVersionException.class, rook.update(read));
        assertEquals(1, get(rook.read()).model().eggs);
    }

    @Test
    void typedPathsAreResolvedByTheirParameters() throws Exception {
        TypedModeledFramework2<Bird, String, Integer> nests =
                TypedModeledFramework2.from(
                        ModeledFramework.builder(),
                        ModelSpec.builder(JacksonModelSerializer.build(Bird.class)),
                        at("trees/{tree}/nests/{number}"));

        get(nests.resolved(async, "oak", 7).set(ROOK));

        assertEquals(ROOK, get(nests.resolved(async, "oak", 7).read()));
        assertNotNull(client.checkExists().forPath(at("trees/oak/nests/7")));
    }

    @Test
    void aWatchedModelHasAStageForItsEvent() throws Exception {
        ModeledFramework<Bird> rook =
                ModeledFramework.builder(async, spec("birds/rook")).watched().build();
        get(rook.set(ROOK));

        AsyncStage<Bird> read = rook.read();
        assertEquals(ROOK, get(read));
        client.delete().forPath(at("birds/rook"));

        assertEquals(EventType.NodeDeleted, get(read.event()).getType());
    }

    @Test
    void aCacheOfModelsFollowsTheTree() throws Exception {
        ModeledFramework<Bird> writing =
                ModeledFramework.wrap(AsyncCuratorFramework.wrap(client()), spec("birds"));
        CachedModeledFramework<Bird> cached =
                closing(ModeledFramework.wrap(async, spec("birds")).cached());
        Log<String> events = new Log<>();
        get(writing.child(ROOK).set(ROOK));
        cached.listenable().addListener((type, path, stat, bird) -> events.add(type + " " + bird));

        cached.start();
        events.until("NODE_ADDED rook with 4");
        get(writing.child(ROOK).set(new Bird("rook", 3)));
        events.until("NODE_UPDATED rook with 3");
        get(writing.child(CROW).set(CROW));
        events.until("NODE_ADDED crow with 5");

        assertEquals(new Bird("rook", 3), get(cached.child(ROOK).read()));
        assertEquals(
                Set.of(new Bird("rook", 3), CROW),
                get(cached.childrenAsZNodes()).stream()
                        .map(ZNode::model)
                        .collect(Collectors.toSet()));
        assertTrue(cached.cache().currentData(path("birds/crow")).isPresent());
        assertEquals(2, cached.cache().currentChildren(path("birds")).size());
        assertEquals(CROW, get(cached.child(CROW).readThrough()));
        get(writing.child(CROW).delete());
        events.until(event -> event.startsWith("NODE_REMOVED"));
        assertFalse(cached.cache().currentData(path("birds/crow")).isPresent());
    }

    private ZPath path(String name) {
        return ZPath.parse(at(name));
    }

    private ModelSpec<Bird> spec(String name) {
        return ModelSpec.builder(path(name), JacksonModelSerializer.build(Bird.class)).build();
    }

    private static void assertRefused(
            Class<? extends KeeperException> refusal, AsyncStage<?> stage) {
        ExecutionException failure = assertThrows(ExecutionException.class, () -> get(stage));
        assertInstanceOf(refusal, failure.getCause());
    }
}
