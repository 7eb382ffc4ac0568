package rookeeper.compat.async;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.transaction.CuratorOp;
import org.apache.curator.x.async.AsyncCuratorFramework;
import org.apache.curator.x.async.migrations.Migration;
import org.apache.curator.x.async.migrations.MigrationException;
import org.apache.curator.x.async.migrations.MigrationManager;
import org.apache.curator.x.async.migrations.MigrationSet;
import org.apache.zookeeper.KeeperException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.ServerTest;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** Changes to a tree that are applied once, in order, each whole. */
class MigrationTest extends ServerTest {
    private CuratorFramework client;
    private AsyncCuratorFramework async;

    @BeforeEach
    void connect() throws Exception {
        client = client();
        async = AsyncCuratorFramework.wrap(client);
    }

    @Test
    void eachMigrationIsAppliedOnce() throws Exception {
        get(manager(async).migrate(MigrationSet.build("main", List.of(first()))));
        assertEquals("1", text(client, at("app")));
        get(manager(async).migrate(MigrationSet.build("main", List.of(first(), second()))));
        get(manager(async).migrate(MigrationSet.build("main", List.of(first(), second()))));

        assertEquals("2", text(client, at("app")));
        assertEquals(1, client.checkExists().forPath(at("app")).getVersion(), "applied once");
        assertEquals(List.of("child"), client.getChildren().forPath(at("app")));
        assertEquals(2, client.getChildren().forPath(at("meta/main")).size());
    }

    @Test
    void aFailedMigrationLeavesNothing() throws Exception {
        Migration failing =
                () ->
                        List.of(
                                create("app2", "x"),
                                async.transactionOp().delete().forPath(at("no")));

        ExecutionException failure =
                assertThrows(
                        ExecutionException.class,
                        () ->
                                get(
                                        manager(async)
                                                .migrate(
                                                        MigrationSet.build(
                                                                "main",
                                                                List.of(first(), failing)))));

        assertInstanceOf(KeeperException.NoNodeException.class, rootOf(failure));
        assertNull(client.checkExists().forPath(at("app")));
        assertNull(client.checkExists().forPath(at("app2")));
        get(manager(async).migrate(MigrationSet.build("main", List.of(first(), second()))));
        assertEquals("2", text(client, at("app")));
    }

    @Test
    void aRewrittenPastIsRefused() throws Exception {
        get(manager(async).migrate(MigrationSet.build("main", List.of(first(), second()))));

        for (List<Migration> past : List.of(List.of(first()), List.of(second(), first()))) {
            ExecutionException failure =
                    assertThrows(
                            ExecutionException.class,
                            () -> get(manager(async).migrate(MigrationSet.build("main", past))));
            assertInstanceOf(MigrationException.class, rootOf(failure));
        }
        assertEquals("2", text(client, at("app")));
    }

    @Test
    void manyAtOnceApplyItOnceTogether() throws Exception {
        List<CompletableFuture<Void>> all = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            all.add(
                    manager(AsyncCuratorFramework.wrap(client()))
                            .migrate(MigrationSet.build("main", List.of(first(), second())))
                            .toCompletableFuture());
        }
        for (CompletableFuture<Void> one : all) {
            get(one);
        }

        assertEquals(1, client.checkExists().forPath(at("app")).getVersion());
        assertEquals(2, client.getChildren().forPath(at("meta/main")).size());
    }

    private MigrationManager manager(AsyncCuratorFramework framework) {
        return new MigrationManager(
                framework, at("locks"), at("meta"), threads(), Duration.ofMillis(SOON_MS));
    }

    private Migration first() {
        return () -> List.of(create("app", "1"), create("app/child", ""));
    }

    private Migration second() {
        return () -> List.of(async.transactionOp().setData().forPath(at("app"), bytes("2")));
    }

    private CuratorOp create(String name, String data) {
        return async.transactionOp().create().forPath(at(name), bytes(data));
    }

    private static Throwable rootOf(Throwable failure) {
        Throwable root = failure;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return root;
    }
}
