package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.queue.BlockingQueueConsumer;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedIdQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.ErrorMode;
import org.apache.curator.framework.recipes.queue.MultiItem;
import org.apache.curator.framework.recipes.queue.QueueBase;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueuePutListener;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.QueueSharder;
import org.apache.curator.framework.recipes.queue.QueueSharderPolicies;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.KeeperException;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Queues of every kind. */
class QueueTest extends ServerTest {
    private final Log<String> consumed = new Log<>();

    // ---- DistributedQueue -----------------------------------------------------------------------

    @Test
    void oneConsumerGetsEverythingInOrder() throws Exception {
        DistributedQueue<String> producer = started(queue(client(), null).buildQueue());
        List<String> items = numbers(50);

        for (String item : items) {
            producer.put(item);
        }
        assertTrue(producer.flushPuts(SOON_MS, TimeUnit.MILLISECONDS));
        started(queue(client(), consumer(consumed::add)).buildQueue());

        assertEquals(items, consumed.next(50));
        awaitChildren(client(), at("queue"), 0);
    }

    @Test
    void severalConsumersGetEachItemOnce() throws Exception {
        for (int i = 0; i < 3; i++) {
            started(queue(client(), consumer(consumed::add)).buildQueue());
        }
        DistributedQueue<String> producer = started(queue(client(), null).buildQueue());

        List<String> items = numbers(60);
        for (String item : items) {
            producer.put(item);
        }

        assertEquals(sorted(items), sorted(consumed.next(60)));
        awaitChildren(client(), at("queue"), 0);
        consumed.assertEmpty();
    }

    @Test
    void withALockPathAFailedItemIsDeliveredAgain() throws Exception {
        AtomicInteger failures = new AtomicInteger();
        QueueConsumer<String> failingFirst =
                consumer(
                        item -> {
                            if (failures.getAndIncrement() == 0) {
                                throw new IllegalStateException("refused on purpose");
                            }
                            consumed.add(item);
                        });
        CuratorFramework client = client();
        DistributedQueue<String> safe =
                started(queue(client, failingFirst).lockPath(at("locks")).buildQueue());
        safe.setErrorMode(ErrorMode.REQUEUE);

        safe.put("a");

        assertEquals("a", consumed.next());
        assertEquals(2, failures.get());
        awaitChildren(client, at("queue"), 0);
        awaitChildren(client, at("locks"), 0);
    }

    @Test
    void anItemOutlivesAConsumerThatDiesOverIt() throws Exception {
        CuratorFramework victim = roughClient();
        CountDownLatch taken = new CountDownLatch(1);
        CountDownLatch never = new CountDownLatch(1);
        DistributedQueue<String> doomed =
                queue(
                                victim,
                                consumer(
                                        item -> {
                                            taken.countDown();
                                            never.await();
                                        }))
                        .lockPath(at("locks"))
                        .buildQueue();
        doomed.start();
        doomed.put("a");
        await(taken);
        CuratorFramework client = client();
        awaitChildren(client, at("locks"), 1);

        victim.close(); // Its lock on the item is an ephemeral node.
        awaitChildren(client, at("locks"), 0);
        started(queue(client, consumer(consumed::add)).lockPath(at("locks")).buildQueue());

        assertEquals("a", consumed.next());
        doomed.close();
    }

    @Test
    void severalItemsTravelInOneNode() throws Exception {
        CuratorFramework client = client();
        DistributedQueue<String> producer = started(queue(client, null).buildQueue());
        Log<MultiItem<String>> put = new Log<>();
        producer.getPutListenerContainer()
                .addListener(
                        new QueuePutListener<String>() {
                            @Override
                            public void putCompleted(String item) {}

                            @Override
                            public void putMultiCompleted(MultiItem<String> items) {
                                put.add(items);
                            }
                        });
        Iterator<String> items = numbers(5).iterator();
        MultiItem<String> multi = () -> items.hasNext() ? items.next() : null;

        producer.putMulti(multi);
        assertEquals(multi, put.next());
        assertEquals(1, client.getChildren().forPath(at("queue")).size());
        started(queue(client(), consumer(consumed::add)).buildQueue());

        assertEquals(numbers(5), consumed.next(5));
    }

    @Test
    void aBoundedQueueMakesItsProducersWait() throws Exception {
        CuratorFramework client = client();
        DistributedQueue<String> producer =
                started(queue(client, null).maxItems(3).putInBackground(false).buildQueue());
        for (String item : numbers(3)) {
            assertTrue(producer.put(item, (int) SOON_MS, TimeUnit.MILLISECONDS));
        }
        awaitChildren(client, at("queue"), 3);
        assertFalse(producer.put("too many", 200, TimeUnit.MILLISECONDS));

        Future<Boolean> waiting =
                inThread(() -> producer.put("last", (int) SOON_MS, TimeUnit.MILLISECONDS));
        started(queue(client(), consumer(consumed::add)).buildQueue());

        assertTrue(get(waiting));
        assertEquals(List.of("0", "1", "2", "last"), consumed.next(4));
    }

    @Test
    void aBlockingConsumerHandsItemsToItsThread() throws Exception {
        BlockingQueueConsumer<String> blocking = new BlockingQueueConsumer<>((c, state) -> {});
        DistributedQueue<String> queue = started(queue(client(), blocking).buildQueue());

        queue.put("a");
        queue.put("b");

        assertEquals("a", blocking.take((int) SOON_MS, TimeUnit.MILLISECONDS));
        assertEquals("b", blocking.take((int) SOON_MS, TimeUnit.MILLISECONDS));
        assertEquals(0, blocking.size());
    }

    // ---- Its relatives --------------------------------------------------------------------------

    @Test
    void itemsOfAnIdQueueCanBeRemovedByTheirId() throws Exception {
        CuratorFramework client = client();
        DistributedIdQueue<String> producer = started(queue(client, null).buildIdQueue());
        producer.put("a", "id-1");
        producer.put("b", "id-2");
        producer.put("c", "id-1");
        assertTrue(producer.flushPuts(SOON_MS, TimeUnit.MILLISECONDS));
        awaitChildren(client, at("queue"), 3);

        assertEquals(2, producer.remove("id-1"));
        assertEquals(0, producer.remove("id-3"));
        started(queue(client(), consumer(consumed::add)).buildIdQueue());

        assertEquals("b", consumed.next());
        awaitChildren(client, at("queue"), 0);
        consumed.assertEmpty();
    }

    @Test
    void theMostUrgentItemComesFirst() throws Exception {
        CuratorFramework client = client();
        DistributedPriorityQueue<String> producer =
                started(queue(client, null).buildPriorityQueue(1));
        producer.put("low", 100);
        producer.put("negative", -5);
        producer.put("high", 1);
        producer.put("lowest", 1_000_000);
        producer.put("high again", 1);
        assertTrue(producer.flushPuts(SOON_MS, TimeUnit.MILLISECONDS));
        awaitChildren(client, at("queue"), 5);

        started(queue(client(), consumer(consumed::add)).buildPriorityQueue(1));

        assertEquals(List.of("negative", "high", "high again", "low", "lowest"), consumed.next(5));
    }

    @Test
    void aDelayedItemComesWhenItIsDueAndNotBefore() throws Exception {
        Log<Long> arrivals = new Log<>();
        DistributedDelayQueue<String> queue =
                started(
                        queue(
                                        client(),
                                        consumer(
                                                item -> {
                                                    arrivals.add(System.currentTimeMillis());
                                                    consumed.add(item);
                                                }))
                                .buildDelayQueue());
        long now = System.currentTimeMillis();

        queue.put("late", now + 1_200);
        queue.put("soon", now + 500);
        queue.put("overdue", now - 1_000);

        assertEquals(List.of("overdue", "soon", "late"), consumed.next(3));
        List<Long> at = arrivals.next(3);
        assertTrue(at.get(1) >= now + 500, "soon came too soon");
        assertTrue(at.get(2) >= now + 1_200, "late came too soon");
    }

    @Test
    void theSimpleQueueKnowsTheWordsOfJavasQueues() throws Exception {
        SimpleDistributedQueue queue = new SimpleDistributedQueue(client(), at("simple"));
        SimpleDistributedQueue other = new SimpleDistributedQueue(client(), at("simple"));

        assertNull(queue.peek());
        assertNull(queue.poll());
        assertThrows(NoSuchElementException.class, queue::element);
        assertThrows(NoSuchElementException.class, queue::remove);
        assertNull(queue.poll(100, TimeUnit.MILLISECONDS));
        for (String item : numbers(3)) {
            assertTrue(queue.offer(bytes(item)));
        }
        assertEquals("0", text(other.peek()));
        assertEquals("0", text(other.element()));
        assertEquals("0", text(other.remove()));
        assertEquals("1", text(queue.poll()));
        assertEquals("2", text(other.take()));
        Future<byte[]> waiting = inThread(queue::take);
        other.offer(bytes("at last"));

        assertEquals("at last", text(get(waiting)));
    }

    @Test
    void severalTakersOfTheSimpleQueueShareItsItems() throws Exception {
        CuratorFramework client = client();
        SimpleDistributedQueue producer = new SimpleDistributedQueue(client, at("simple"));
        List<Future<Void>> takers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            SimpleDistributedQueue queue = new SimpleDistributedQueue(client(), at("simple"));
            takers.add(
                    inThread(
                            () -> {
                                for (int n = 0; n < 10; ) {
                                    try {
                                        consumed.add(text(queue.take()));
                                        n++;
                                    } catch (KeeperException.NoNodeException e) {
                                        // Another taker was faster; the recipe leaves it to us.
                                    }
                                }
                                return null;
                            }));
        }

        List<String> items = numbers(30);
        for (String item : items) {
            producer.offer(bytes(item));
        }

        for (Future<Void> taker : takers) {
            get(taker);
        }
        assertEquals(sorted(items), sorted(consumed.next(30)));
    }

    @Test
    void aFullQueueIsSplit() throws Exception {
        CuratorFramework client = client();
        QueueSharderPolicies policies =
                QueueSharderPolicies.builder()
                        .newQueueThreshold(5)
                        .maxQueues(3)
                        .thresholdCheckMs(50)
                        .build();
        QueueSharder<String, DistributedQueue<String>> sharder =
                closing(
                        new QueueSharder<>(
                                client,
                                (c, path) ->
                                        QueueBuilder.<String>builder(c, null, serializer(), path)
                                                .putInBackground(false)
                                                .buildQueue(),
                                at("queues"),
                                at("leader"),
                                policies));
        sharder.start();
        assertEquals(1, sharder.getShardQty());

        for (int i = 0; i < 20; i++) {
            sharder.getQueue().put("item " + i);
        }

        eventually("there is a second queue", () -> sharder.getShardQty() > 1);
        assertTrue(sharder.getQueuePaths().size() <= 3);
        int items = 0;
        for (String path : sharder.getQueuePaths()) {
            items += client.getChildren().forPath(path).size();
        }
        assertEquals(20, items);
    }

    // ---- Helpers --------------------------------------------------------------------------------

    private interface Consumption {
        void accept(String item) throws Exception;
    }

    private static QueueConsumer<String> consumer(Consumption consumption) {
        return new QueueConsumer<>() {
            @Override
            public void consumeMessage(String item) throws Exception {
                consumption.accept(item);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        };
    }

    private static QueueSerializer<String> serializer() {
        return new QueueSerializer<>() {
            @Override
            public byte[] serialize(String item) {
                return bytes(item);
            }

            @Override
            public String deserialize(byte[] data) {
                return text(data);
            }
        };
    }

    private QueueBuilder<String> queue(CuratorFramework client, QueueConsumer<String> consumer) {
        return QueueBuilder.builder(client, consumer, serializer(), at("queue"));
    }

    private <Q extends QueueBase<String>> Q started(Q queue) throws Exception {
        closing(queue);
        queue.start();
        return queue;
    }

    private static List<String> numbers(int count) {
        return IntStream.range(0, count).mapToObj(String::valueOf).collect(Collectors.toList());
    }

    private static List<String> sorted(List<String> items) {
        return items.stream().sorted().collect(Collectors.toList());
    }
}
