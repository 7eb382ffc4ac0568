package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache.StartMode;
import org.apache.curator.framework.recipes.cache.PathChildrenCacheEvent;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.cache.TreeCacheEvent;
import org.apache.curator.framework.recipes.cache.TreeCacheSelector;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.CreateMode;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/** The three caches of former years, which live on watches that fire once. */
class OldCachesTest extends ServerTest {
    private final Log<String> events = new Log<>();

    // ---- NodeCache ------------------------------------------------------------------------------

    @Test
    void aNodeCacheFollowsItsNodeThroughDeathAndRebirth() throws Exception {
        CuratorFramework writing = client();
        NodeCache cache = closing(new NodeCache(client(), at("n")));
        cache.getListenable()
                .addListener(
                        () -> {
                            ChildData data = cache.getCurrentData();
                            events.add(data == null ? "none" : text(data.getData()));
                        });
        cache.start(true);
        assertNull(cache.getCurrentData());

        writing.create().forPath(at("n"), bytes("1"));
        assertEquals("1", events.next());
        writing.setData().forPath(at("n"), bytes("2"));
        assertEquals("2", events.next());
        writing.delete().forPath(at("n"));
        assertEquals("none", events.next());
        writing.create().forPath(at("n"), bytes("3"));
        assertEquals("3", events.next());
        assertEquals(0, cache.getCurrentData().getStat().getVersion());
    }

    @Test
    void aNodeCacheCatchesUpInANewSession() throws Exception {
        CuratorFramework writing = client();
        CuratorFramework victim = roughClient();
        writing.create().forPath(at("n"), bytes("1"));
        NodeCache cache = closing(new NodeCache(victim, at("n")));
        cache.start(true);
        assertEquals("1", text(cache.getCurrentData().getData()));
        Log<ConnectionState> states = statesOf(victim);

        Sessions.end(victim);
        writing.setData().forPath(at("n"), bytes("2"));
        states.until(ConnectionState.RECONNECTED);
        eventually("caught up", () -> text(cache.getCurrentData().getData()).equals("2"));
        writing.setData().forPath(at("n"), bytes("3"));
        eventually("following", () -> text(cache.getCurrentData().getData()).equals("3"));
    }

    // ---- PathChildrenCache ----------------------------------------------------------------------

    @Test
    void aPathChildrenCacheFollowsTheChildren() throws Exception {
        CuratorFramework writing = client();
        PathChildrenCache cache = closing(new PathChildrenCache(client(), at("p"), true));
        cache.getListenable().addListener((c, event) -> events.add(describe(event)));

        cache.start();
        writing.create().creatingParentsIfNeeded().forPath(at("p/a"), bytes("1"));
        assertEquals("CHILD_ADDED a", events.until("CHILD_ADDED a").get(0));
        writing.setData().forPath(at("p/a"), bytes("2"));
        assertEquals("CHILD_UPDATED a", events.next());
        writing.create().forPath(at("p/b"), bytes("3"));
        assertEquals("CHILD_ADDED b", events.next());
        writing.delete().forPath(at("p/a"));
        assertEquals("CHILD_REMOVED a", events.next());

        assertEquals(1, cache.getCurrentData().size());
        assertEquals("3", text(cache.getCurrentData(at("p/b")).getData()));
        assertNull(cache.getCurrentData(at("p/a")));
    }

    @Test
    void aPathChildrenCacheStartsInThreeWays() throws Exception {
        CuratorFramework client = client();
        client.create().creatingParentsIfNeeded().forPath(at("p/a"), bytes("1"));
        client.create().forPath(at("p/b"), bytes("2"));

        PathChildrenCache built = closing(new PathChildrenCache(client, at("p"), true));
        built.start(StartMode.BUILD_INITIAL_CACHE);
        assertEquals(2, built.getCurrentData().size());

        PathChildrenCache announced = closing(new PathChildrenCache(client, at("p"), true));
        announced.getListenable().addListener((c, event) -> events.add(describe(event)));
        announced.start(StartMode.POST_INITIALIZED_EVENT);
        List<String> heard = events.until("INITIALIZED");
        assertTrue(heard.containsAll(List.of("CHILD_ADDED a", "CHILD_ADDED b")), heard.toString());

        PathChildrenCache bare = closing(new PathChildrenCache(client, at("p"), false));
        bare.start(StartMode.NORMAL);
        eventually("it is filled", () -> bare.getCurrentData().size() == 2);
        assertNull(bare.getCurrentData(at("p/a")).getData());
        bare.clearAndRefresh();
        eventually("it is filled again", () -> bare.getCurrentData().size() == 2);

        built.rebuild();
        built.clearDataBytes(at("p/a"));
        assertNull(built.getCurrentData(at("p/a")).getData());
        built.rebuildNode(at("p/a"));
        assertEquals("1", text(built.getCurrentData(at("p/a")).getData()));
    }

    @Test
    void aPathChildrenCacheSeesEphemeralsDieWithTheirSession() throws Exception {
        CuratorFramework owner = client();
        PathChildrenCache cache = closing(new PathChildrenCache(client(), at("p"), true));
        cache.getListenable().addListener((c, event) -> events.add(describe(event)));
        cache.start(StartMode.BUILD_INITIAL_CACHE);

        owner.create().withMode(CreateMode.EPHEMERAL).forPath(at("p/e"), bytes("1"));
        events.until("CHILD_ADDED e");
        owner.close();

        events.until("CHILD_REMOVED e");
    }

    @Test
    void aPathChildrenCacheCatchesUpInANewSession() throws Exception {
        CuratorFramework writing = client();
        CuratorFramework victim = roughClient();
        writing.create().creatingParentsIfNeeded().forPath(at("p/gone"), bytes("1"));
        PathChildrenCache cache = closing(new PathChildrenCache(victim, at("p"), true));
        cache.getListenable().addListener((c, event) -> events.add(describe(event)));
        cache.start(StartMode.BUILD_INITIAL_CACHE);

        Sessions.end(victim);
        writing.create().forPath(at("p/new"), bytes("2"));
        writing.delete().forPath(at("p/gone"));

        events.until("CONNECTION_RECONNECTED");
        eventually(
                "caught up",
                () ->
                        cache.getCurrentData().size() == 1
                                && cache.getCurrentData(at("p/new")) != null);
    }

    // ---- TreeCache ------------------------------------------------------------------------------

    @Test
    void aTreeCacheFollowsTheWholeTree() throws Exception {
        CuratorFramework writing = client();
        writing.create().creatingParentsIfNeeded().forPath(at("t/a/b"), bytes("1"));
        TreeCache cache = closing(new TreeCache(client(), at("t")));
        cache.getListenable().addListener((c, event) -> events.add(describe(event)));

        cache.start();
        List<String> initial = events.until("INITIALIZED");
        assertEquals(
                List.of("NODE_ADDED a", "NODE_ADDED b", "NODE_ADDED t"),
                initial.stream().limit(3).sorted().collect(Collectors.toList()));
        writing.create().forPath(at("t/a/b/c"), bytes("2"));
        assertEquals("NODE_ADDED c", events.next());
        writing.setData().forPath(at("t/a/b"), bytes("3"));
        assertEquals("NODE_UPDATED b", events.next());
        writing.delete().forPath(at("t/a/b/c"));
        assertEquals("NODE_REMOVED c", events.next());
        writing.delete().deletingChildrenIfNeeded().forPath(at("t/a"));
        List<String> removed = new ArrayList<>(events.next(2));
        removed.sort(null);
        assertEquals(List.of("NODE_REMOVED a", "NODE_REMOVED b"), removed);

        assertEquals(1, cache.size());
        assertNotNull(cache.getCurrentData(at("t")));
        assertTrue(cache.getCurrentChildren(at("t")).isEmpty());
    }

    @Test
    void aTreeCacheGoesOnlyWhereItsSelectorAndDepthLet() throws Exception {
        CuratorFramework client = client();
        client.create().creatingParentsIfNeeded().forPath(at("t/a/deep/deeper"), bytes("1"));
        client.create().creatingParentsIfNeeded().forPath(at("t/hidden/x"), bytes("1"));
        TreeCacheSelector selector =
                new TreeCacheSelector() {
                    @Override
                    public boolean traverseChildren(String path) {
                        return true;
                    }

                    @Override
                    public boolean acceptChild(String path) {
                        return !path.endsWith("/hidden");
                    }
                };
        TreeCache cache =
                closing(
                        TreeCache.newBuilder(client, at("t"))
                                .setMaxDepth(2)
                                .setSelector(selector)
                                .setCacheData(true)
                                .build());
        cache.getListenable().addListener((c, event) -> events.add(describe(event)));

        cache.start();
        events.until("INITIALIZED");

        assertEquals(Set.of("a"), cache.getCurrentChildren(at("t")).keySet());
        assertEquals(Set.of("deep"), cache.getCurrentChildren(at("t/a")).keySet());
        assertEquals(3, cache.size());
    }

    @Test
    void aTreeCacheCatchesUpInANewSession() throws Exception {
        CuratorFramework writing = client();
        CuratorFramework victim = roughClient();
        writing.create().creatingParentsIfNeeded().forPath(at("t/gone"), bytes("1"));
        TreeCache cache = closing(new TreeCache(victim, at("t")));
        cache.getListenable().addListener((c, event) -> events.add(describe(event)));
        cache.start();
        events.until("INITIALIZED");

        Sessions.end(victim);
        writing.delete().forPath(at("t/gone"));
        writing.create().forPath(at("t/new"), bytes("2"));

        events.until("CONNECTION_RECONNECTED");
        eventually(
                "caught up",
                () -> cache.getCurrentChildren(at("t")).keySet().equals(Set.of("new")));
    }

    private static String describe(PathChildrenCacheEvent event) {
        return event.getType() + name(event.getData());
    }

    private static String describe(TreeCacheEvent event) {
        return event.getType() + name(event.getData());
    }

    private static String name(ChildData data) {
        return data == null ? "" : data.getPath().replaceFirst(".*/", " ");
    }
}
