package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.Locker;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.curator.framework.recipes.locks.StandardLockInternalsDriver;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The re-entrant lock. */
class MutexTest extends ServerTest {
    @Test
    void oneIsInsideAtATime() throws Exception {
        Crowd crowd = new Crowd(1);
        List<Future<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            InterProcessMutex lock = new InterProcessMutex(client(), at("lock"));
            workers.add(
                    inThread(
                            () -> {
                                for (int round = 0; round < 20; round++) {
                                    lock.acquire();
                                    try {
                                        crowd.visit();
                                    } finally {
                                        lock.release();
                                    }
                                }
                                return null;
                            }));
        }
        for (Future<Void> worker : workers) {
            get(worker);
        }

        crowd.assertVisits(100);
        awaitChildren(client(), at("lock"), 0);
    }

    @Test
    void waitersEnterInTheOrderInWhichTheyCame() throws Exception {
        CuratorFramework client = client();
        InterProcessMutex gate = new InterProcessMutex(client, at("lock"));
        gate.acquire();
        Log<Integer> entered = new Log<>();
        List<Future<Void>> waiters = new ArrayList<>();

        for (int i = 0; i < 6; i++) {
            int number = i;
            InterProcessMutex lock = new InterProcessMutex(client(), at("lock"));
            waiters.add(
                    inThread(
                            () -> {
                                lock.acquire();
                                entered.add(number);
                                lock.release();
                                return null;
                            }));
            awaitChildren(client, at("lock"), i + 2); // It queues before the next one comes.
        }
        gate.release();
        for (Future<Void> waiter : waiters) {
            get(waiter);
        }

        assertEquals(List.of(0, 1, 2, 3, 4, 5), entered.next(6));
    }

    @Test
    void theLockNodesZxidFencesItsHolders() throws Exception {
        CuratorFramework one = client();
        CuratorFramework two = client();
        long token = 0;

        for (int i = 0; i < 6; i++) {
            CuratorFramework client = i % 2 == 0 ? one : two;
            InterProcessMutex lock = new InterProcessMutex(client, at("lock"));
            lock.acquire();
            String node = lock.getParticipantNodes().iterator().next();
            Stat stat = client.checkExists().forPath(node);
            assertEquals(Sessions.idOf(client), stat.getEphemeralOwner());
            assertTrue(stat.getCzxid() > token, "each holder's token is above the last one's");
            token = stat.getCzxid();
            lock.release();
        }
    }

    @Test
    void theHolderMayEnterAgain() throws Exception {
        InterProcessMutex lock = new InterProcessMutex(client(), at("lock"));
        InterProcessMutex other = new InterProcessMutex(client(), at("lock"));

        lock.acquire();
        assertTrue(lock.acquire(1, TimeUnit.MILLISECONDS));
        lock.release();
        assertTrue(lock.isOwnedByCurrentThread());
        assertFalse(other.acquire(100, TimeUnit.MILLISECONDS), "one entry is still open");
        lock.release();

        assertFalse(lock.isAcquiredInThisProcess());
        assertTrue(other.acquire(SOON_MS, TimeUnit.MILLISECONDS));
    }

    @Test
    void onlyTheHolderMayLeave() throws Exception {
        InterProcessMutex lock = new InterProcessMutex(client(), at("lock"));
        lock.acquire();

        Future<Boolean> intruder =
                inThread(
                        () -> {
                            assertThrows(IllegalMonitorStateException.class, lock::release);
                            return lock.acquire(100, TimeUnit.MILLISECONDS);
                        });

        assertFalse(get(intruder));
        lock.release();
        assertThrows(IllegalMonitorStateException.class, lock::release);
    }

    @Test
    void whoGivesUpLeavesNothingBehind() throws Exception {
        CuratorFramework client = client();
        InterProcessMutex lock = new InterProcessMutex(client, at("lock"));
        InterProcessMutex other = new InterProcessMutex(client(), at("lock"));
        lock.acquire();

        assertFalse(other.acquire(200, TimeUnit.MILLISECONDS));

        awaitChildren(client, at("lock"), 1);
        assertEquals(1, lock.getParticipantNodes().size());
    }

    @Test
    void anInterruptedWaiterLeavesTheQueue() throws Exception {
        CuratorFramework client = client();
        InterProcessMutex lock = new InterProcessMutex(client, at("lock"));
        InterProcessMutex other = new InterProcessMutex(client(), at("lock"));
        lock.acquire();
        CountDownLatch interrupted = new CountDownLatch(1);
        Thread waiter =
                new Thread(
                        () -> {
                            try {
                                other.acquire();
                            } catch (Exception e) {
                                interrupted.countDown();
                            }
                        });
        waiter.start();
        awaitChildren(client, at("lock"), 2);

        waiter.interrupt();
        await(interrupted);

        awaitChildren(client, at("lock"), 1);
    }

    @Test
    void aClosedClientPassesItsLockOn() throws Exception {
        CuratorFramework holder = client();
        new InterProcessMutex(holder, at("lock")).acquire();
        InterProcessMutex other = new InterProcessMutex(client(), at("lock"));
        assertFalse(other.acquire(100, TimeUnit.MILLISECONDS));

        holder.close();

        assertTrue(other.acquire(SOON_MS, TimeUnit.MILLISECONDS));
    }

    @Test
    void aLockIsLostWithItsSession() throws Exception {
        CuratorFramework victim = roughClient();
        CuratorFramework client = client();
        InterProcessMutex lost = new InterProcessMutex(victim, at("lock"));
        InterProcessMutex gained = new InterProcessMutex(client, at("lock"));
        lost.acquire();
        String node = lost.getParticipantNodes().iterator().next();
        Log<ConnectionState> states = statesOf(victim);
        Future<Boolean> waiting = inThread(() -> gained.acquire(SOON_MS, TimeUnit.MILLISECONDS));
        awaitChildren(client, at("lock"), 2);

        Sessions.end(victim);

        assertTrue(get(waiting), "the next one gets it");
        assertNull(client.checkExists().forPath(node));
        states.until(ConnectionState.LOST);
        states.until(ConnectionState.RECONNECTED);
        lost.release(); // The node is long gone; that must do no harm to the new holder.
        assertEquals(1, gained.getParticipantNodes().size());
        assertFalse(new InterProcessMutex(victim, at("lock")).acquire(100, TimeUnit.MILLISECONDS));
    }

    @Test
    void theDeathOfAWaiterLetsNobodyJumpTheQueue() throws Exception {
        CuratorFramework client = client();
        CuratorFramework victim = roughClient();
        InterProcessMutex held = new InterProcessMutex(client, at("lock"));
        InterProcessMutex doomed = new InterProcessMutex(victim, at("lock"));
        InterProcessMutex last = new InterProcessMutex(client(), at("lock"));
        held.acquire();
        inThread(() -> doomed.acquire(SOON_MS, TimeUnit.MILLISECONDS));
        awaitChildren(client, at("lock"), 2);
        String doomedNode = List.copyOf(held.getParticipantNodes()).get(1);
        Future<Boolean> waiting = inThread(() -> last.acquire(SOON_MS, TimeUnit.MILLISECONDS));
        awaitChildren(client, at("lock"), 3);

        victim.close();
        assertNull(client.checkExists().forPath(doomedNode));
        assertThrows(TimeoutException.class, () -> waiting.get(300, TimeUnit.MILLISECONDS));
        held.release();

        assertTrue(get(waiting));
    }

    @Test
    void aHolderCanBeAskedToLeave() throws Exception {
        CuratorFramework client = client();
        InterProcessMutex lock = new InterProcessMutex(client, at("lock"));
        Log<InterProcessMutex> asked = new Log<>();
        lock.makeRevocable(asked::add);
        lock.acquire();
        CuratorFramework other = client();
        InterProcessMutex wanted = new InterProcessMutex(other, at("lock"));

        Revoker.attemptRevoke(other, wanted.getParticipantNodes().iterator().next());
        assertEquals(lock, asked.next());
        lock.release();

        assertTrue(wanted.acquire(SOON_MS, TimeUnit.MILLISECONDS));
        Revoker.attemptRevoke(other, at("lock/gone")); // Nobody there to ask.
    }

    @Test
    void aLockerLeavesAtTheEndOfItsBlock() throws Exception {
        InterProcessMutex lock = new InterProcessMutex(client(), at("lock"));

        try (Locker locker = new Locker(lock, SOON_MS, TimeUnit.MILLISECONDS)) {
            assertNotNull(locker);
            assertTrue(lock.isAcquiredInThisProcess());
        }

        assertFalse(lock.isAcquiredInThisProcess());
    }

    @Test
    void aCustomDriverMayKeepItsOwnNodes() throws Exception {
        CuratorFramework client = client();
        List<String> made = new ArrayList<>();
        InterProcessMutex lock =
                new InterProcessMutex(
                        client,
                        at("lock"),
                        new StandardLockInternalsDriver() {
                            @Override
                            public String createsTheLock(
                                    CuratorFramework c, String path, byte[] data) throws Exception {
                                String node = super.createsTheLock(c, path, bytes("mine"));
                                made.add(node);
                                return node;
                            }
                        });

        lock.acquire();

        assertEquals(1, made.size());
        assertEquals("mine", text(client, made.get(0)));
        assertEquals(made, List.copyOf(lock.getParticipantNodes()));
        lock.release();
        assertNull(client.checkExists().forPath(made.get(0)));
    }
}
