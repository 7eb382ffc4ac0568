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
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.x.async.AsyncCuratorFramework;
import org.apache.curator.x.async.AsyncEventException;
import org.apache.curator.x.async.AsyncResult;
import org.apache.curator.x.async.AsyncStage;
import org.apache.curator.x.async.AsyncWrappers;
import org.apache.curator.x.async.WatchMode;
import org.apache.curator.x.async.api.CreateOption;
import org.apache.curator.x.async.api.DeleteOption;
import org.apache.curator.x.async.api.ExistsOption;
import org.apache.curator.x.async.api.RemoveWatcherOption;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Link;
import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** The client whose answers are stages. */
class AsyncFrameworkTest extends ServerTest {
    @Test
    void stagesCarryTheAnswers() throws Exception {
        AsyncCuratorFramework async = AsyncCuratorFramework.wrap(client());
        Stat stat = new Stat();

        CompletionStage<String> chain =
                async.create()
                        .forPath(at("a"), bytes("1"))
                        .thenCompose(
                                path -> async.setData().withVersion(0).forPath(path, bytes("2")))
                        .thenCompose(
                                written -> async.getData().storingStatIn(stat).forPath(at("a")))
                        .thenApply(data -> text(data));

        assertEquals("2", get(chain));
        assertEquals(1, stat.getVersion());
        assertEquals(List.of("a"), get(async.getChildren().forPath(root)));
        assertEquals(Ids.OPEN_ACL_UNSAFE, get(async.getACL().forPath(at("a"))));
        get(async.setACL().withACL(Ids.OPEN_ACL_UNSAFE, 0).forPath(at("a")));
        assertEquals(1, get(async.checkExists().forPath(at("a"))).getAversion());
        get(async.sync().forPath(at("a")));
        assertNotNull(async.getConfig().forEnsemble());
        get(async.delete().withVersion(1).forPath(at("a")));
        assertNull(get(async.checkExists().forPath(at("a"))));
    }

    @Test
    void optionsSayHow() throws Exception {
        CuratorFramework client = client();
        AsyncCuratorFramework async = AsyncCuratorFramework.wrap(client);

        get(
                async.create()
                        .withOptions(
                                Set.of(
                                        CreateOption.createParentsAsContainers,
                                        CreateOption.compress))
                        .forPath(at("p/z"), bytes("squeezed")));
        assertEquals("squeezed", text(get(async.getData().decompressed().forPath(at("p/z")))));
        get(
                async.create()
                        .withOptions(
                                Set.of(CreateOption.setDataIfExists),
                                CreateMode.PERSISTENT,
                                Ids.OPEN_ACL_UNSAFE)
                        .forPath(at("p/z"), bytes("plain")));
        assertEquals("plain", text(client, at("p/z")));
        assertEquals(1, client.checkExists().forPath(at("p/z")).getVersion());
        String path =
                get(
                        async.create()
                                .withOptions(
                                        Set.of(CreateOption.doProtected),
                                        CreateMode.EPHEMERAL_SEQUENTIAL)
                                .forPath(at("p/n-")));
        assertTrue(path.matches(".*/p/_c_.*-n-0000000001"), path);
        assertEquals(Sessions.idOf(client), client.checkExists().forPath(path).getEphemeralOwner());
        get(
                async.checkExists()
                        .withOptions(Set.of(ExistsOption.createParentsIfNeeded))
                        .forPath(at("q/r/s")));
        assertNotNull(client.checkExists().forPath(at("q/r")));
        get(
                async.create()
                        .withOptions(
                                Set.of(),
                                CreateMode.PERSISTENT_WITH_TTL,
                                Ids.OPEN_ACL_UNSAFE,
                                new Stat(),
                                500)
                        .forPath(at("ttl")));
        awaitDeleted(client, at("ttl"));
        get(
                async.delete()
                        .withOptions(
                                Set.of(
                                        DeleteOption.deletingChildrenIfNeeded,
                                        DeleteOption.guaranteed,
                                        DeleteOption.quietly))
                        .forPath(at("q")));
        assertNull(client.checkExists().forPath(at("q")));
        get(async.delete().withOptions(Set.of(DeleteOption.quietly)).forPath(at("q")));
    }

    @Test
    void aRefusalIsTheStagesException() throws Exception {
        AsyncCuratorFramework async = AsyncCuratorFramework.wrap(client());

        ExecutionException refusal =
                assertThrows(
                        ExecutionException.class,
                        () -> get(async.getData().forPath(at("missing"))));
        assertInstanceOf(KeeperException.NoNodeException.class, refusal.getCause());

        AsyncResult<byte[]> result = get(AsyncResult.of(async.getData().forPath(at("missing"))));
        assertEquals(KeeperException.Code.NONODE, result.getCode());
        assertFalse(result.getValue().isPresent());
    }

    @Test
    void aWatchedReadHasAStageForItsEvent() throws Exception {
        AsyncCuratorFramework async = AsyncCuratorFramework.wrap(client());
        CuratorFramework other = client();

        AsyncStage<Stat> absent = async.watched().checkExists().forPath(at("a"));
        assertNull(get(absent));
        CompletionStage<WatchedEvent> birth = absent.event();
        other.create().forPath(at("a"));
        assertEquals(EventType.NodeCreated, get(birth).getType());
        AsyncStage<byte[]> data = async.watched().getData().forPath(at("a"));
        AsyncStage<List<String>> children = async.watched().getChildren().forPath(at("a"));
        get(data);
        get(children);
        other.create().forPath(at("a/b"));
        assertEquals(EventType.NodeChildrenChanged, get(children.event()).getType());
        assertFalse(data.event().toCompletableFuture().isDone());
        other.setData().forPath(at("a"), bytes("1"));
        assertEquals(EventType.NodeDataChanged, get(data.event()).getType());
    }

    @Test
    void aWatchTellsOfALostConnectionAndCanGoOn() throws Exception {
        Link link = closing(new Link());
        CuratorFramework away = clientOver(link, LONG_SESSION_MS);
        CuratorFramework other = client();
        other.create().forPath(at("a"));
        AsyncCuratorFramework async = AsyncCuratorFramework.wrap(away);
        AsyncStage<byte[]> quiet =
                async.with(WatchMode.successOnly).watched().getData().forPath(at("a"));
        AsyncStage<byte[]> data = async.watched().getData().forPath(at("a"));
        get(quiet);
        get(data);

        link.dropConnections();
        ExecutionException lost = assertThrows(ExecutionException.class, () -> get(data.event()));
        AsyncEventException interruption =
                assertInstanceOf(AsyncEventException.class, lost.getCause());
        CompletionStage<WatchedEvent> again = interruption.reset();
        eventually("connected again", () -> away.getZookeeperClient().isConnected());
        // Reconnecting is an event as well; the one after that is ours.
        get(async.sync().forPath(at("a")));
        other.setData().forPath(at("a"), bytes("1"));

        assertEquals(EventType.NodeDataChanged, get(quiet.event()).getType());
        assertEquals(EventType.NodeDataChanged, get(again).getType());
    }

    @Test
    void aTransactionIsOneStage() throws Exception {
        CuratorFramework client = client();
        AsyncCuratorFramework async = AsyncCuratorFramework.wrap(client);

        List<CuratorTransactionResult> results =
                get(
                        async.transaction()
                                .forOperations(
                                        List.of(
                                                async.transactionOp()
                                                        .create()
                                                        .withMode(CreateMode.CONTAINER)
                                                        .forPath(at("a"), bytes("1")),
                                                async.transactionOp()
                                                        .check()
                                                        .withVersion(0)
                                                        .forPath(at("a")),
                                                async.transactionOp()
                                                        .setData()
                                                        .withVersion(0)
                                                        .forPath(at("a"), bytes("2")))));
        assertEquals(3, results.size());
        assertEquals(1, results.get(2).getResultStat().getVersion());

        ExecutionException refusal =
                assertThrows(
                        ExecutionException.class,
                        () ->
                                get(
                                        async.transaction()
                                                .forOperations(
                                                        List.of(
                                                                async.transactionOp()
                                                                        .delete()
                                                                        .forPath(at("a")),
                                                                async.transactionOp()
                                                                        .delete()
                                                                        .forPath(at("b"))))));
        assertInstanceOf(KeeperException.NoNodeException.class, refusal.getCause());
        assertNotNull(client.checkExists().forPath(at("a")));
    }

    @Test
    void watchesAreAddedAndRemoved() throws Exception {
        CuratorFramework client = client();
        AsyncCuratorFramework async = AsyncCuratorFramework.wrap(client);
        Log<String> events = new Log<>();
        Watcher watcher = event -> events.add(event.getType() + " " + event.getPath());

        get(
                async.addWatch()
                        .withMode(AddWatchMode.PERSISTENT_RECURSIVE)
                        .usingWatcher(watcher)
                        .forPath(at("a")));
        client.create().creatingParentsIfNeeded().forPath(at("a/b"));
        assertEquals(List.of("NodeCreated " + at("a"), "NodeCreated " + at("a/b")), events.next(2));
        get(
                async.removeWatches()
                        .removing(watcher, WatcherType.Any, Set.of(RemoveWatcherOption.guaranteed))
                        .forPath(at("a")));
        assertEquals("PersistentWatchRemoved " + at("a"), events.next());
        ExecutionException refusal =
                assertThrows(
                        ExecutionException.class,
                        () -> get(async.removeWatches().removingAll().forPath(at("a"))));
        assertInstanceOf(KeeperException.NoWatcherException.class, refusal.getCause());
    }

    @Test
    void requestsInFlightAreAnsweredInOrder() throws Exception {
        AsyncCuratorFramework async = AsyncCuratorFramework.wrap(client());
        Log<Integer> answered = new Log<>();
        List<CompletableFuture<?>> all = new ArrayList<>();

        for (int i = 0; i < 200; i++) {
            int number = i;
            all.add(
                    async.create()
                            .withMode(CreateMode.PERSISTENT_SEQUENTIAL)
                            .forPath(at("s-"), bytes("" + i))
                            .thenAccept(
                                    path -> {
                                        assertEquals(at(String.format("s-%010d", number)), path);
                                        answered.add(number);
                                    })
                            .toCompletableFuture());
        }
        get(CompletableFuture.allOf(all.toArray(new CompletableFuture<?>[0])));

        List<Integer> order = answered.next(200);
        assertEquals(order.stream().sorted().collect(Collectors.toList()), order);
    }

    // ---- AsyncWrappers --------------------------------------------------------------------------

    @Test
    void parentsAreEnsuredAndChildrenReadWithTheirData() throws Exception {
        CuratorFramework client = client();
        AsyncCuratorFramework async = AsyncCuratorFramework.wrap(client);

        get(AsyncWrappers.asyncEnsureContainers(async, at("p/q")));
        get(AsyncWrappers.asyncEnsureContainers(async, at("p/q")));
        get(AsyncWrappers.asyncEnsureParents(async, at("r/s/t")));
        assertNotNull(client.checkExists().forPath(at("p/q")));
        assertNotNull(client.checkExists().forPath(at("r/s")));
        client.create().forPath(at("p/q/a"), bytes("1"));
        client.create().forPath(at("p/q/b"), bytes("2"));

        Map<String, byte[]> children = get(AsyncWrappers.childrenWithData(async, at("p/q")));
        assertEquals(Set.of(at("p/q/a"), at("p/q/b")), children.keySet());
        assertEquals("2", text(children.get(at("p/q/b"))));
        assertEquals(Map.of(), get(AsyncWrappers.childrenWithData(async, at("nowhere"))));
    }

    @Test
    void aLockIsTakenInAStage() throws Exception {
        InterProcessSemaphoreMutex lock = new InterProcessSemaphoreMutex(client(), at("lock"));
        InterProcessSemaphoreMutex other = new InterProcessSemaphoreMutex(client(), at("lock"));

        get(AsyncWrappers.lockAsync(lock, threads()));
        assertFalse(get(AsyncWrappers.lockAsyncIf(other, 100, TimeUnit.MILLISECONDS, threads())));
        assertThrows(
                ExecutionException.class,
                () -> get(AsyncWrappers.lockAsync(other, 100, TimeUnit.MILLISECONDS, threads())));
        CompletionStage<Boolean> waiting =
                AsyncWrappers.lockAsyncIf(other, SOON_MS, TimeUnit.MILLISECONDS, threads());
        AsyncWrappers.release(lock);

        assertTrue(get(waiting));
        AsyncWrappers.release(other);
        InterProcessMutex mutex = new InterProcessMutex(client(), at("mutex"));
        Future<Boolean> own = inThread(() -> mutex.acquire(SOON_MS, TimeUnit.MILLISECONDS));
        assertTrue(get(own));
    }
}
