package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheAccessor;
import org.apache.curator.framework.recipes.cache.CuratorCacheBridge;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.CuratorCacheStorage;
import org.apache.curator.framework.recipes.cache.PathChildrenCacheEvent;
import org.apache.curator.framework.recipes.cache.TreeCacheEvent;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.utils.ZookeeperCompatibility;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;

/** The cache of today, which lives on a persistent recursive watch. */
class CuratorCacheTest extends ServerTest {
    private final Log<String> events = new Log<>();

    @Test
    void itHoldsWhatIsThereAndFollowsWhatHappens() throws Exception {
        CuratorFramework writing = client();
        writing.create().creatingParentsIfNeeded().forPath(at("c/a/b"), bytes("1"));
        CuratorCache cache = closing(CuratorCache.build(client(), at("c")));
        cache.listenable().addListener(logging());

        cache.start();
        List<String> initial = events.until("initialized");
        assertEquals(4, initial.size());
        assertTrue(initial.contains("created " + at("c/a/b")));
        writing.setData().forPath(at("c/a/b"), bytes("2"));
        assertEquals("changed " + at("c/a/b") + " 1 -> 2", events.next());
        writing.create().forPath(at("c/d"), bytes("3"));
        assertEquals("created " + at("c/d"), events.next());
        writing.delete().forPath(at("c/a/b"));
        assertEquals("deleted " + at("c/a/b"), events.next());

        assertEquals(3, cache.size());
        assertEquals("3", text(cache.get(at("c/d")).orElseThrow().getData()));
        assertEquals(
                writing.checkExists().forPath(at("c/d")),
                cache.get(at("c/d")).orElseThrow().getStat());
        assertEquals(
                2, cache.stream().filter(CuratorCacheAccessor.parentPathFilter(at("c"))).count());
    }

    @Test
    void itEndsUpEqualToTheTreeAfterAStormOfChanges() throws Exception {
        CuratorFramework writing = client();
        CuratorCache cache = closing(CuratorCache.build(client(), at("c")));
        cache.start();

        writing.create().forPath(at("c"));
        for (int i = 0; i < 200; i++) {
            String path = at("c/n" + i % 20);
            if (writing.checkExists().forPath(path) == null) {
                writing.create().forPath(path, bytes("made " + i));
            } else if (i % 3 == 0) {
                writing.delete().forPath(path);
            } else {
                writing.setData().forPath(path, bytes("changed " + i));
            }
        }

        Map<String, String> tree = new TreeMap<>();
        for (String child : writing.getChildren().forPath(at("c"))) {
            tree.put(at("c/" + child), text(writing, at("c/" + child)));
        }
        eventually("the cache is the tree", () -> tree.equals(childrenIn(cache, at("c"))));
    }

    @Test
    void itCatchesUpWithWhatHappenedBetweenTwoSessions() throws Exception {
        CuratorFramework writing = client();
        CuratorFramework victim = roughClient();
        writing.create().forPath(at("c"), bytes("0"));
        writing.create().forPath(at("c/gone"), bytes("1"));
        writing.create().forPath(at("c/changed"), bytes("1"));
        CuratorCache cache = closing(CuratorCache.build(victim, at("c")));
        cache.listenable().addListener(logging());
        cache.start();
        events.until("initialized");
        Log<ConnectionState> states = statesOf(victim);

        Sessions.end(victim);
        writing.delete().forPath(at("c/gone"));
        writing.setData().forPath(at("c/changed"), bytes("2"));
        writing.create().forPath(at("c/new"), bytes("2"));
        states.until(ConnectionState.RECONNECTED);

        Map<String, String> expected = Map.of(at("c/changed"), "2", at("c/new"), "2");
        eventually("it has caught up", () -> expected.equals(childrenIn(cache, at("c"))));
        writing.setData().forPath(at("c/new"), bytes("3"));
        events.until("changed " + at("c/new") + " 2 -> 3");
    }

    @Test
    void asASingleNodeItIgnoresChildren() throws Exception {
        CuratorFramework client = client();
        CuratorCache cache =
                closing(
                        CuratorCache.build(
                                client, at("c"), CuratorCache.Options.SINGLE_NODE_CACHE));
        cache.listenable().addListener(logging());
        cache.start();
        events.until("initialized");

        client.create().forPath(at("c"), bytes("1"));
        assertEquals("created " + at("c"), events.next());
        client.create().forPath(at("c/child"));
        client.setData().forPath(at("c"), bytes("2"));

        assertEquals("changed " + at("c") + " 1 -> 2", events.next());
        assertEquals(1, cache.size());
    }

    @Test
    void itsOptionsCompressAndKeepAndOmitData() throws Exception {
        CuratorFramework client = client();
        client.create().compressed().forPath(at("z"), bytes("squeezed"));
        CuratorCache compressed =
                closing(
                        CuratorCache.build(
                                client,
                                at("z"),
                                CuratorCache.Options.COMPRESSED_DATA,
                                CuratorCache.Options.DO_NOT_CLEAR_ON_CLOSE));
        CuratorCache bare =
                closing(
                        CuratorCache.builder(client, at("z"))
                                .withStorage(CuratorCacheStorage.dataNotCached())
                                .build());

        compressed.start();
        bare.start();
        eventually("both are filled", () -> compressed.size() == 1 && bare.size() == 1);

        assertEquals("squeezed", text(compressed.get(at("z")).orElseThrow().getData()));
        assertNull(bare.get(at("z")).orElseThrow().getData());
        compressed.close();
        bare.close();
        assertEquals(1, compressed.size());
        assertEquals(0, bare.size());
    }

    @Test
    void itServesTheListenersOfTheOldCaches() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("c"));
        CountDownLatch node = new CountDownLatch(1);
        Log<PathChildrenCacheEvent.Type> path = new Log<>();
        Log<TreeCacheEvent.Type> tree = new Log<>();
        Log<String> late = new Log<>();
        CuratorCache cache = closing(CuratorCache.build(client, at("c")));
        cache.listenable()
                .addListener(CuratorCacheListener.builder().forNodeCache(node::countDown).build());
        cache.listenable()
                .addListener(
                        CuratorCacheListener.builder()
                                .forPathChildrenCache(
                                        at("c"), client, (c, event) -> path.add(event.getType()))
                                .build());
        cache.listenable()
                .addListener(
                        CuratorCacheListener.builder()
                                .forTreeCache(client, (c, event) -> tree.add(event.getType()))
                                .build());
        cache.listenable()
                .addListener(
                        CuratorCacheListener.builder()
                                .forCreates(data -> late.add(data.getPath()))
                                .afterInitialized()
                                .build());

        cache.start();
        await(node);
        path.until(PathChildrenCacheEvent.Type.INITIALIZED);
        tree.until(TreeCacheEvent.Type.INITIALIZED);
        client.create().forPath(at("c/a"));
        assertEquals(PathChildrenCacheEvent.Type.CHILD_ADDED, path.next());
        assertEquals(TreeCacheEvent.Type.NODE_ADDED, tree.next());
        assertEquals(at("c/a"), late.next());
        client.setData().forPath(at("c/a"), bytes("1"));
        assertEquals(PathChildrenCacheEvent.Type.CHILD_UPDATED, path.next());
        assertEquals(TreeCacheEvent.Type.NODE_UPDATED, tree.next());
        client.delete().forPath(at("c/a"));
        assertEquals(PathChildrenCacheEvent.Type.CHILD_REMOVED, path.next());
        assertEquals(TreeCacheEvent.Type.NODE_REMOVED, tree.next());
        late.assertEmpty();
    }

    @Test
    void theBridgeUsesIt() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("c"), bytes("1"));
        CuratorCacheBridge bridge = closing(CuratorCache.bridgeBuilder(client, at("c")).build());
        bridge.listenable().addListener(logging());

        bridge.start();
        events.until("initialized");

        assertTrue(bridge.isCuratorCache());
        assertEquals("1", text(bridge.get(at("c")).orElseThrow().getData()));
    }

    @Test
    void withoutPersistentWatchesTheBridgeFallsBackOnTheTreeCache() throws Exception {
        CuratorFramework client = client(builder -> builder.zookeeperCompatibility(oldServers()));
        client.create().creatingParentsIfNeeded().forPath(at("c/a"), bytes("1"));
        CuratorCacheBridge bridge = closing(CuratorCache.bridgeBuilder(client, at("c")).build());
        bridge.listenable().addListener(logging());

        bridge.start();
        events.until("initialized");
        client.setData().forPath(at("c/a"), bytes("2"));
        events.until("changed " + at("c/a") + " 1 -> 2");

        assertFalse(bridge.isCuratorCache());
        assertEquals(2, bridge.size());
    }

    private static ZookeeperCompatibility oldServers() {
        return ZookeeperCompatibility.builder().hasPersistentWatchers(false).build();
    }

    private static Map<String, String> childrenIn(CuratorCache cache, String parent) {
        Map<String, String> children = new TreeMap<>();
        cache.stream()
                .filter(CuratorCacheAccessor.parentPathFilter(parent))
                .forEach(data -> children.put(data.getPath(), text(data.getData())));
        return children;
    }

    private CuratorCacheListener logging() {
        return CuratorCacheListener.builder()
                .forInitialized(() -> events.add("initialized"))
                .forCreates(data -> events.add("created " + data.getPath()))
                .forChanges(this::logChange)
                .forDeletes(data -> events.add("deleted " + data.getPath()))
                .build();
    }

    private void logChange(ChildData before, ChildData after) {
        String change = text(before.getData()) + " -> " + text(after.getData());
        events.add("changed " + after.getPath() + " " + change);
    }
}
