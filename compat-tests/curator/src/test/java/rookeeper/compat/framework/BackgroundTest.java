package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.BackgroundCallback;
import org.apache.curator.framework.api.CuratorEvent;
import org.apache.curator.framework.api.CuratorEventType;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.ZooDefs.Ids;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Requests whose answer comes in a callback. */
class BackgroundTest extends ServerTest {
    private final Log<CuratorEvent> events = new Log<>();
    private final BackgroundCallback callback = (client, event) -> events.add(event);

    @Test
    void everyRequestHasItsEvent() throws Exception {
        CuratorFramework client = client();

        client.create().inBackground(callback, 1).forPath(at("a"), bytes("x"));
        assertEvent(CuratorEventType.CREATE, at("a"), 1);
        client.checkExists().inBackground(callback, 2).forPath(at("a"));
        assertEquals(1, assertEvent(CuratorEventType.EXISTS, at("a"), 2).getStat().getDataLength());
        client.setData().inBackground(callback, 3).forPath(at("a"), bytes("yz"));
        assertEquals(1, assertEvent(CuratorEventType.SET_DATA, at("a"), 3).getStat().getVersion());
        client.getData().inBackground(callback, 4).forPath(at("a"));
        CuratorEvent read = assertEvent(CuratorEventType.GET_DATA, at("a"), 4);
        assertEquals("yz", text(read.getData()));
        assertEquals(2, read.getStat().getDataLength());
        client.getACL().inBackground(callback, 5).forPath(at("a"));
        assertEquals(
                Ids.OPEN_ACL_UNSAFE,
                assertEvent(CuratorEventType.GET_ACL, at("a"), 5).getACLList());
        client.setACL().withACL(Ids.OPEN_ACL_UNSAFE).inBackground(callback, 6).forPath(at("a"));
        assertEquals(1, assertEvent(CuratorEventType.SET_ACL, at("a"), 6).getStat().getAversion());
        client.getChildren().inBackground(callback, 7).forPath(root);
        CuratorEvent children = assertEvent(CuratorEventType.CHILDREN, root, 7);
        assertEquals(List.of("a"), children.getChildren());
        assertEquals(1, children.getStat().getNumChildren());
        client.sync().inBackground(callback, 8).forPath(at("a"));
        assertEvent(CuratorEventType.SYNC, at("a"), 8);
        client.delete().inBackground(callback, 9).forPath(at("a"));
        assertEvent(CuratorEventType.DELETE, at("a"), 9);
    }

    @Test
    void refusalsComeAsResultCodes() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("a"));
        client.create().forPath(at("a/b"));

        client.create().inBackground(callback).forPath(at("a"));
        client.getData().inBackground(callback).forPath(at("x"));
        client.checkExists().inBackground(callback).forPath(at("x"));
        client.setData().withVersion(5).inBackground(callback).forPath(at("a"), bytes("1"));
        client.delete().inBackground(callback).forPath(at("a"));

        assertEquals(
                List.of(Code.NODEEXISTS, Code.NONODE, Code.NONODE, Code.BADVERSION, Code.NOTEMPTY),
                codes(5));
    }

    @Test
    void answersComeInTheOrderOfTheRequests() throws Exception {
        CuratorFramework client = client();
        int rounds = 100;

        client.create().forPath(at("a"), bytes("start"));
        for (int i = 0; i < rounds; i++) {
            client.setData().inBackground(callback, 2 * i).forPath(at("a"), bytes("" + i));
            client.getData().inBackground(callback, 2 * i + 1).forPath(at("a"));
        }

        for (int i = 0; i < rounds; i++) {
            assertEquals(2 * i, events.next().getContext());
            CuratorEvent read = events.next();
            assertEquals(2 * i + 1, read.getContext());
            assertEquals("" + i, text(read.getData()), "a read sees the writes before it");
            assertEquals(i + 1, read.getStat().getVersion());
        }
    }

    @Test
    void parentsAreMadeAndChildrenDeletedInTheBackgroundToo() throws Exception {
        CuratorFramework client = client();

        client.create().creatingParentsIfNeeded().inBackground(callback).forPath(at("a/b/c"));
        assertEquals(0, events.next().getResultCode());
        assertNotNull(client.checkExists().forPath(at("a/b/c")));
        client.create().orSetData().inBackground(callback).forPath(at("a"), bytes("1"));
        assertEquals(0, events.next().getResultCode());
        assertEquals("1", text(client, at("a")));
        client.delete()
                .guaranteed()
                .deletingChildrenIfNeeded()
                .inBackground(callback)
                .forPath(at("a"));
        assertEquals(0, events.next().getResultCode());
        assertEquals(List.of(), client.getChildren().forPath(root));
    }

    @Test
    void theCallersExecutorRunsTheCallback() throws Exception {
        CuratorFramework client = client();
        Log<String> threads = new Log<>();
        ExecutorService executor =
                Executors.newSingleThreadExecutor(work -> new Thread(work, "callers-own"));
        closing(executor::shutdown);

        client.create()
                .inBackground((c, event) -> threads.add(Thread.currentThread().getName()), executor)
                .forPath(at("a"));

        assertEquals("callers-own", threads.next());
    }

    @Test
    void listenersHearWhatHasNoCallback() throws Exception {
        CuratorFramework client = client();
        client.getCuratorListenable().addListener((c, event) -> events.add(event));

        client.create().inBackground().forPath(at("a"));
        List<CuratorEvent> first = events.until(e -> e.getType() == CuratorEventType.CREATE);
        assertEquals(at("a"), first.get(first.size() - 1).getPath());
        client.getData().watched().forPath(at("a"));
        client.setData().forPath(at("a"), bytes("1"));
        List<CuratorEvent> heard = events.until(e -> e.getType() == CuratorEventType.WATCHED);
        assertEquals(at("a"), heard.get(heard.size() - 1).getPath());
        client.sync(at("a"), "context");
        List<CuratorEvent> more = events.until(e -> e.getType() == CuratorEventType.SYNC);
        assertEquals("context", more.get(more.size() - 1).getContext());
    }

    @Test
    void anErrorInACallbackIsReported() throws Exception {
        CuratorFramework client = client();
        Log<Throwable> errors = new Log<>();
        client.getUnhandledErrorListenable().addListener((message, error) -> errors.add(error));

        client.create()
                .inBackground(
                        (c, event) -> {
                            throw new IllegalStateException("thrown on purpose");
                        })
                .forPath(at("a"));

        assertTrue(
                errors.next().toString().contains("thrown on purpose"), "the callback's own error");
        assertNotNull(client.checkExists().forPath(at("a")), "and the client goes on");
    }

    @Test
    void afterASyncTheOtherClientsWritesAreSeen() throws Exception {
        CuratorFramework writing = client();
        CuratorFramework reading = client();
        writing.create().forPath(at("a"), bytes("start"));

        for (int i = 0; i < 50; i++) {
            writing.setData().forPath(at("a"), bytes("" + i));
            reading.sync().forPath(at("a"));
            assertEquals("" + i, text(reading, at("a")));
        }
    }

    private CuratorEvent assertEvent(CuratorEventType type, String path, Object context)
            throws Exception {
        CuratorEvent event = events.next();
        assertEquals(type, event.getType());
        assertEquals(0, event.getResultCode());
        assertEquals(path, event.getPath());
        assertEquals(context, event.getContext());
        return event;
    }

    private List<Code> codes(int count) throws Exception {
        List<Code> codes = new ArrayList<>();
        for (CuratorEvent event : events.next(count)) {
            codes.add(Code.get(event.getResultCode()));
        }
        return codes;
    }
}
