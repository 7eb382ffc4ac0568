package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.RetryPolicy;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.CachedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.CachedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicValue;
import org.apache.curator.framework.recipes.atomic.PromotedToLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.retry.RetryOneTime;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.ServerTest;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Numbers and values that change in one step. */
class AtomicTest extends ServerTest {
    private static final RetryPolicy STUBBORN = new RetryNTimes(1_000, 1);

    @Test
    void aLongDoesItsArithmetic() throws Exception {
        DistributedAtomicLong number = new DistributedAtomicLong(client(), at("n"), STUBBORN);

        assertEquals(0L, number.get().postValue());
        assertTrue(number.initialize(10L));
        assertFalse(number.initialize(20L), "only once");
        assertChange(10L, 11L, number.increment());
        assertChange(11L, 10L, number.decrement());
        assertChange(10L, 15L, number.add(5L));
        assertChange(15L, 12L, number.subtract(3L));
        assertChange(12L, 100L, number.trySet(100L));
        assertChange(100L, -1L, number.compareAndSet(100L, -1L));
        AtomicValue<Long> refused = number.compareAndSet(100L, 5L);
        assertFalse(refused.succeeded());
        assertEquals(-1L, refused.preValue());
        number.forceSet(Long.MAX_VALUE);
        assertEquals(Long.MAX_VALUE, number.get().postValue());
    }

    @Test
    void anIntegerDoesItsArithmetic() throws Exception {
        DistributedAtomicInteger number = new DistributedAtomicInteger(client(), at("n"), STUBBORN);

        assertEquals(0, number.get().postValue());
        assertTrue(number.initialize(10));
        assertChange(10, 11, number.increment());
        assertChange(11, 10, number.decrement());
        assertChange(10, 15, number.add(5));
        assertChange(15, 12, number.subtract(3));
        assertChange(12, -7, number.trySet(-7));
        assertChange(-7, 1, number.compareAndSet(-7, 1));
        assertFalse(number.compareAndSet(-7, 2).succeeded());
        number.forceSet(42);
        assertEquals(42, number.get().postValue());
    }

    @Test
    void aValueChangesOnlyFromTheExpectedOne() throws Exception {
        DistributedAtomicValue one = new DistributedAtomicValue(client(), at("v"), STUBBORN);
        DistributedAtomicValue two = new DistributedAtomicValue(client(), at("v"), STUBBORN);

        assertTrue(one.initialize(bytes("a")));
        assertFalse(two.initialize(bytes("b")));
        assertTrue(two.compareAndSet(bytes("a"), bytes("c")).succeeded());
        AtomicValue<byte[]> refused = one.compareAndSet(bytes("a"), bytes("d"));
        assertFalse(refused.succeeded());
        assertEquals("c", text(refused.preValue()));
        assertTrue(one.trySet(bytes("e")).succeeded());
        two.forceSet(bytes("f"));
        assertEquals("f", text(one.get().postValue()));
    }

    @Test
    void countingTogetherLosesNothingAndRepeatsNothing() throws Exception {
        Set<Long> seen = new ConcurrentSkipListSet<>();
        AtomicInteger optimistic = new AtomicInteger();
        List<Future<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            DistributedAtomicLong number = new DistributedAtomicLong(client(), at("n"), STUBBORN);
            workers.add(
                    inThread(
                            () -> {
                                for (int round = 0; round < 25; round++) {
                                    AtomicValue<Long> value = number.increment();
                                    assertTrue(value.succeeded());
                                    assertTrue(seen.add(value.postValue()), "given out twice");
                                    optimistic.addAndGet(value.getStats().getOptimisticTries());
                                }
                                return null;
                            }));
        }
        for (Future<Void> worker : workers) {
            get(worker);
        }

        assertEquals(100, seen.size());
        DistributedAtomicLong number = new DistributedAtomicLong(client(), at("n"), STUBBORN);
        assertEquals(100L, number.get().postValue());
        assertTrue(optimistic.get() >= 100);
    }

    @Test
    void whoLosesTooOftenIsPromotedToALock() throws Exception {
        PromotedToLock promoted =
                PromotedToLock.builder()
                        .lockPath(at("lock"))
                        .timeout(SOON_MS, TimeUnit.MILLISECONDS)
                        .retryPolicy(STUBBORN)
                        .build();
        AtomicInteger promotions = new AtomicInteger();
        List<Future<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            DistributedAtomicLong number =
                    new DistributedAtomicLong(client(), at("n"), new RetryOneTime(1), promoted);
            workers.add(
                    inThread(
                            () -> {
                                for (int round = 0; round < 25; round++) {
                                    AtomicValue<Long> value = number.increment();
                                    assertTrue(value.succeeded());
                                    promotions.addAndGet(
                                            value.getStats().getPromotedLockTries() > 0 ? 1 : 0);
                                }
                                return null;
                            }));
        }
        for (Future<Void> worker : workers) {
            get(worker);
        }

        DistributedAtomicLong number = new DistributedAtomicLong(client(), at("n"), STUBBORN);
        assertEquals(100L, number.get().postValue());
        assertTrue(promotions.get() > 0, "four at once must collide");
    }

    @Test
    void withoutACollisionNoLockIsNeeded() throws Exception {
        InterProcessMutex lock = new InterProcessMutex(client(), at("lock"));
        lock.acquire();
        PromotedToLock promoted =
                PromotedToLock.builder()
                        .lockPath(at("lock"))
                        .timeout(100, TimeUnit.MILLISECONDS)
                        .retryPolicy(new RetryOneTime(1))
                        .build();
        DistributedAtomicLong number =
                new DistributedAtomicLong(client(), at("n"), new RetryOneTime(1), promoted);

        AtomicValue<Long> value = number.increment();

        assertTrue(value.succeeded());
        assertEquals(0, value.getStats().getPromotedLockTries());
        assertTrue(lock.isAcquiredInThisProcess());
    }

    @Test
    void cachedNumbersTakeBlocksThatDoNotOverlap() throws Exception {
        Set<Long> longs = new HashSet<>();
        CachedAtomicLong one =
                new CachedAtomicLong(new DistributedAtomicLong(client(), at("l"), STUBBORN), 10);
        CachedAtomicLong two =
                new CachedAtomicLong(new DistributedAtomicLong(client(), at("l"), STUBBORN), 10);
        for (int i = 0; i < 15; i++) {
            longs.add(one.next().preValue());
            longs.add(two.next().preValue());
        }
        assertEquals(30, longs.size());
        assertEquals(
                40L,
                new DistributedAtomicLong(client(), at("l"), STUBBORN).get().postValue(),
                "two blocks each");

        Set<Integer> integers = new HashSet<>();
        DistributedAtomicInteger integer =
                new DistributedAtomicInteger(client(), at("i"), STUBBORN);
        CachedAtomicInteger cached = new CachedAtomicInteger(integer, 5);
        for (int i = 0; i < 7; i++) {
            integers.add(cached.next().postValue());
        }
        assertEquals(Set.of(1, 2, 3, 4, 5, 6, 7), integers);
        assertEquals(10, integer.get().postValue());
    }

    private static <T> void assertChange(T before, T after, AtomicValue<T> value) {
        assertTrue(value.succeeded());
        assertEquals(before, value.preValue());
        assertEquals(after, value.postValue());
    }
}
