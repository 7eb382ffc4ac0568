package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.CuratorEvent;
import org.apache.curator.framework.api.CuratorEventType;
import org.apache.curator.framework.api.transaction.CuratorOp;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.api.transaction.OperationType;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.Collection;
import java.util.List;
import java.util.stream.Collectors;

/** Several operations, all or none. */
class TransactionTest extends ServerTest {
    @Test
    void everyOperationHasItsResult() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("old"), bytes("0"));
        client.create().forPath(at("doomed"));

        List<CuratorTransactionResult> results =
                client.transaction()
                        .forOperations(
                                client.transactionOp().check().withVersion(0).forPath(at("old")),
                                client.transactionOp().create().forPath(at("new"), bytes("n")),
                                client.transactionOp()
                                        .setData()
                                        .withVersion(0)
                                        .forPath(at("old"), bytes("1")),
                                client.transactionOp().delete().forPath(at("doomed")),
                                client.transactionOp()
                                        .create()
                                        .withMode(CreateMode.PERSISTENT_SEQUENTIAL)
                                        .forPath(at("s-"))); // The fourth child made here.

        assertEquals(
                List.of(
                        OperationType.CHECK,
                        OperationType.CREATE,
                        OperationType.SET_DATA,
                        OperationType.DELETE,
                        OperationType.CREATE),
                results.stream()
                        .map(CuratorTransactionResult::getType)
                        .collect(Collectors.toList()));
        results.forEach(result -> assertEquals(0, result.getError()));
        assertEquals(at("new"), results.get(1).getResultPath());
        assertEquals(1, results.get(2).getResultStat().getVersion());
        assertEquals(at("s-"), results.get(4).getForPath());
        assertEquals(at("s-0000000003"), results.get(4).getResultPath());

        Stat made = client.checkExists().forPath(at("new"));
        Stat written = client.checkExists().forPath(at("old"));
        assertEquals(made.getCzxid(), written.getMzxid(), "one transaction, one zxid");
        assertNull(client.checkExists().forPath(at("doomed")));
    }

    @Test
    void aRefusedTransactionLeavesNoTrace() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("a"), bytes("0"));
        Stat before = client.checkExists().forPath(root);

        KeeperException refusal =
                assertThrows(
                        KeeperException.NoNodeException.class,
                        () ->
                                client.transaction()
                                        .forOperations(
                                                client.transactionOp().create().forPath(at("b")),
                                                client.transactionOp()
                                                        .setData()
                                                        .forPath(at("a"), bytes("1")),
                                                client.transactionOp().delete().forPath(at("x")),
                                                client.transactionOp().create().forPath(at("c"))));

        assertEquals(
                List.of(Code.OK, Code.OK, Code.NONODE, Code.RUNTIMEINCONSISTENCY),
                refusal.getResults().stream()
                        .map(result -> Code.get(((OpResult.ErrorResult) result).getErr()))
                        .collect(Collectors.toList()));
        assertEquals("0", text(client, at("a")));
        assertEquals(List.of("a"), client.getChildren().forPath(root));
        assertEquals(before, client.checkExists().forPath(root));
    }

    @Test
    void eachKindOfRefusalIsReported() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("a"), bytes("0"));
        client.create().forPath(at("a/b"));

        assertThrows(
                KeeperException.BadVersionException.class,
                () ->
                        commit(
                                client,
                                client.transactionOp().check().withVersion(9).forPath(at("a"))));
        assertThrows(
                KeeperException.NoNodeException.class,
                () -> commit(client, client.transactionOp().check().forPath(at("x"))));
        assertThrows(
                KeeperException.NodeExistsException.class,
                () -> commit(client, client.transactionOp().create().forPath(at("a"))));
        assertThrows(
                KeeperException.NotEmptyException.class,
                () -> commit(client, client.transactionOp().delete().forPath(at("a"))));
        assertThrows(
                KeeperException.BadVersionException.class,
                () ->
                        commit(
                                client,
                                client.transactionOp()
                                        .setData()
                                        .withVersion(3)
                                        .forPath(at("a"), bytes("1"))));
    }

    @Test
    void laterOperationsSeeEarlierOnes() throws Exception {
        CuratorFramework client = client();

        commit(
                client,
                client.transactionOp().create().forPath(at("p"), bytes("0")),
                client.transactionOp().create().forPath(at("p/c")),
                client.transactionOp().setData().withVersion(0).forPath(at("p"), bytes("1")),
                client.transactionOp().check().withVersion(1).forPath(at("p")),
                client.transactionOp().delete().forPath(at("p/c")),
                client.transactionOp().create().forPath(at("p/d")),
                client.transactionOp().delete().withVersion(0).forPath(at("p/d")),
                client.transactionOp().setData().withVersion(1).forPath(at("p"), bytes("2")));

        Stat stat = client.checkExists().forPath(at("p"));
        assertEquals("2", text(client, at("p")));
        assertEquals(2, stat.getVersion());
        assertEquals(0, stat.getNumChildren());
        assertEquals(4, stat.getCversion());
    }

    @Test
    void transactionsMakeAnyKindOfNode() throws Exception {
        CuratorFramework client = client();

        commit(
                client,
                client.transactionOp()
                        .create()
                        .withMode(CreateMode.EPHEMERAL)
                        .forPath(at("ephemeral")),
                client.transactionOp()
                        .create()
                        .withMode(CreateMode.CONTAINER)
                        .forPath(at("container")),
                client.transactionOp().create().forPath(at("container/child")),
                client.transactionOp()
                        .create()
                        .withTtl(500)
                        .withMode(CreateMode.PERSISTENT_WITH_TTL)
                        .forPath(at("ttl")),
                client.transactionOp().create().compressed().forPath(at("gz"), bytes("zipped")));

        assertEquals(
                Sessions.idOf(client),
                client.checkExists().forPath(at("ephemeral")).getEphemeralOwner());
        assertEquals("zipped", text(client.getData().decompressed().forPath(at("gz"))));
        assertNotNull(client.checkExists().forPath(at("container")));
        commit(client, client.transactionOp().delete().forPath(at("container/child")));
        awaitDeleted(client, at("container"));
        awaitDeleted(client, at("ttl"));
    }

    @Test
    void aTransactionInTheBackgroundReportsItsResults() throws Exception {
        CuratorFramework client = client();
        Log<CuratorEvent> events = new Log<>();

        client.transaction()
                .inBackground((c, event) -> events.add(event), "context")
                .forOperations(
                        client.transactionOp().create().forPath(at("a")),
                        client.transactionOp().create().forPath(at("a/b")));
        CuratorEvent done = events.next();
        assertEquals(CuratorEventType.TRANSACTION, done.getType());
        assertEquals(0, done.getResultCode());
        assertEquals("context", done.getContext());
        assertEquals(
                List.of(at("a"), at("a/b")),
                done.getOpResults().stream()
                        .map(CuratorTransactionResult::getResultPath)
                        .collect(Collectors.toList()));

        client.transaction()
                .inBackground((c, event) -> events.add(event))
                .forOperations(
                        client.transactionOp().create().forPath(at("c")),
                        client.transactionOp().create().forPath(at("a")));
        CuratorEvent refused = events.next();
        assertEquals(Code.NODEEXISTS.intValue(), refused.getResultCode());
        assertEquals(
                List.of(Code.OK.intValue(), Code.NODEEXISTS.intValue()),
                refused.getOpResults().stream()
                        .map(CuratorTransactionResult::getError)
                        .collect(Collectors.toList()));
        assertNull(client.checkExists().forPath(at("c")));
    }

    @Test
    void theOldInterfaceStillWorks() throws Exception {
        CuratorFramework client = client();

        Collection<CuratorTransactionResult> results =
                client.inTransaction()
                        .create()
                        .withMode(CreateMode.PERSISTENT)
                        .forPath(at("a"), bytes("1"))
                        .and()
                        .check()
                        .forPath(at("a"))
                        .and()
                        .setData()
                        .withVersion(0)
                        .forPath(at("a"), bytes("2"))
                        .and()
                        .commit();

        assertEquals(3, results.size());
        assertTrue(
                results.stream()
                        .anyMatch(
                                CuratorTransactionResult.ofTypeAndPath(
                                                OperationType.SET_DATA, at("a"))
                                        ::apply));
        assertEquals("2", text(client, at("a")));
    }

    @Test
    void watchersHearOfEachOperationInItsOrderAndOfNoRefusedOne() throws Exception {
        CuratorFramework client = client();
        Log<String> events = new Log<>();
        client.watchers()
                .add()
                .withMode(AddWatchMode.PERSISTENT_RECURSIVE)
                .usingWatcher(
                        (Watcher) event -> events.add(event.getType() + " " + event.getPath()))
                .forPath(root);

        assertThrows(
                KeeperException.NoNodeException.class,
                () ->
                        commit(
                                client,
                                client.transactionOp().create().forPath(at("never")),
                                client.transactionOp().delete().forPath(at("x"))));
        commit(
                client,
                client.transactionOp().create().forPath(at("a")),
                client.transactionOp().create().forPath(at("a/b")),
                client.transactionOp().setData().forPath(at("a"), bytes("1")),
                client.transactionOp().delete().forPath(at("a/b")));

        assertEquals(
                List.of(
                        "NodeCreated " + at("a"),
                        "NodeCreated " + at("a/b"),
                        "NodeDataChanged " + at("a"),
                        "NodeDeleted " + at("a/b")),
                events.next(4));
    }

    private static void commit(CuratorFramework client, CuratorOp... operations) throws Exception {
        client.transaction().forOperations(operations);
    }
}
