package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.ServerTest;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Waiting for the gate, and waiting for each other.
 *
 * <p>Curator's double barrier has two races of its own, whatever the server does: a member that is
 * slow to enter is left behind by others that leave already, and one that leaves takes the late
 * news that all have entered for news that all have left. So here nobody leaves before all have
 * entered and have had their news.
 */
class BarrierTest extends ServerTest {
    @Test
    void aBarrierHoldsEverybodyBackUntilItIsRemoved() throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(client(), at("barrier"));
        barrier.setBarrier();
        List<Future<Boolean>> waiters = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            DistributedBarrier own = new DistributedBarrier(client(), at("barrier"));
            assertFalse(own.waitOnBarrier(50, TimeUnit.MILLISECONDS));
            waiters.add(inThread(() -> own.waitOnBarrier(SOON_MS, TimeUnit.MILLISECONDS)));
        }

        for (Future<Boolean> waiter : waiters) {
            assertFalse(waiter.isDone());
        }
        barrier.removeBarrier();

        for (Future<Boolean> waiter : waiters) {
            assertTrue(get(waiter));
        }
        new DistributedBarrier(client(), at("barrier")).waitOnBarrier(); // There is none any more.
    }

    @Test
    void aDoubleBarrierLetsInAllTogetherAndOutAllTogether() throws Exception {
        int count = 4;
        AtomicInteger entered = new AtomicInteger();
        AtomicInteger leaving = new AtomicInteger();
        CountDownLatch allInside = new CountDownLatch(count);
        List<Future<Void>> members = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            CuratorFramework client = client();
            DistributedDoubleBarrier barrier =
                    new DistributedDoubleBarrier(client, at("barrier"), count);
            members.add(
                    inThread(
                            () -> {
                                entered.incrementAndGet();
                                barrier.enter();
                                assertEquals(count, entered.get(), "all have come");
                                allInside.countDown();
                                await(allInside);
                                passQueue(client);
                                leaving.incrementAndGet();
                                barrier.leave();
                                assertEquals(count, leaving.get(), "all are going");
                                return null;
                            }));
        }

        for (Future<Void> member : members) {
            get(member);
        }
        awaitChildren(client(), at("barrier"), 0);
    }

    @Test
    void whoWaitsInVainMayLeaveAlone() throws Exception {
        CuratorFramework client = client();
        DistributedDoubleBarrier early = new DistributedDoubleBarrier(client, at("barrier"), 2);

        assertFalse(early.enter(200, TimeUnit.MILLISECONDS));
        assertTrue(early.leave(SOON_MS, TimeUnit.MILLISECONDS));
        awaitChildren(client, at("barrier"), 0);

        DistributedDoubleBarrier one = new DistributedDoubleBarrier(client, at("barrier"), 2);
        assertFalse(one.enter(200, TimeUnit.MILLISECONDS), "the early one counts no more");
    }

    @Test
    void theDeathOfAMemberLetsTheOthersLeave() throws Exception {
        CuratorFramework victim = client();
        DistributedDoubleBarrier doomed = new DistributedDoubleBarrier(victim, at("barrier"), 2);
        CuratorFramework client = client();
        DistributedDoubleBarrier other = new DistributedDoubleBarrier(client, at("barrier"), 2);
        Future<Boolean> entering = inThread(() -> doomed.enter(SOON_MS, TimeUnit.MILLISECONDS));
        assertTrue(other.enter(SOON_MS, TimeUnit.MILLISECONDS));
        assertTrue(get(entering));
        passQueue(client);

        Future<Boolean> leaving = inThread(() -> other.leave(SOON_MS, TimeUnit.MILLISECONDS));
        assertThrows(TimeoutException.class, () -> leaving.get(200, TimeUnit.MILLISECONDS));
        victim.close();

        assertTrue(get(leaving));
    }
}
