package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** The lock without owner, the lock for readers and writers, and several locks as one. */
class OtherLocksTest extends ServerTest {
    private static final long A_WHILE_MS = 150;

    // ---- InterProcessSemaphoreMutex -------------------------------------------------------------

    @Test
    void aSemaphoreMutexLetsOneInAtATime() throws Exception {
        Crowd crowd = new Crowd(1);
        List<Future<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            InterProcessLock lock = new InterProcessSemaphoreMutex(client(), at("lock"));
            workers.add(
                    inThread(
                            () -> {
                                for (int round = 0; round < 10; round++) {
                                    lock.acquire();
                                    crowd.visit();
                                    lock.release();
                                }
                                return null;
                            }));
        }
        for (Future<Void> worker : workers) {
            get(worker);
        }

        crowd.assertVisits(40);
    }

    @Test
    void aSemaphoreMutexIsNotReentrantAndHasNoOwner() throws Exception {
        InterProcessLock lock = new InterProcessSemaphoreMutex(client(), at("lock"));

        lock.acquire();
        assertFalse(lock.acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));
        Future<Boolean> other =
                inThread(
                        () -> {
                            lock.release();
                            return lock.isAcquiredInThisProcess();
                        });
        assertFalse(get(other), "any thread may release it");

        assertTrue(lock.acquire(SOON_MS, TimeUnit.MILLISECONDS));
    }

    @Test
    void aSemaphoreMutexIsFreedByTheEndOfASession() throws Exception {
        CuratorFramework victim = roughClient();
        new InterProcessSemaphoreMutex(victim, at("lock")).acquire();
        InterProcessLock other = new InterProcessSemaphoreMutex(client(), at("lock"));
        assertFalse(other.acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));

        Sessions.end(victim);

        assertTrue(other.acquire(SOON_MS, TimeUnit.MILLISECONDS));
    }

    // ---- InterProcessReadWriteLock --------------------------------------------------------------

    @Test
    void readersShareAndWritersAreAlone() throws Exception {
        AtomicInteger readers = new AtomicInteger();
        Crowd writers = new Crowd(1);
        List<Future<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            boolean isWriter = i % 3 == 0;
            InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client(), at("lock"));
            workers.add(
                    inThread(
                            () -> {
                                for (int round = 0; round < 10; round++) {
                                    if (isWriter) {
                                        lock.writeLock().acquire();
                                        writers.visit();
                                        assertEquals(0, readers.get(), "a reader beside a writer");
                                        lock.writeLock().release();
                                    } else {
                                        lock.readLock().acquire();
                                        readers.incrementAndGet();
                                        assertEquals(0, writers.inside());
                                        readers.decrementAndGet();
                                        lock.readLock().release();
                                    }
                                }
                                return null;
                            }));
        }
        for (Future<Void> worker : workers) {
            get(worker);
        }

        writers.assertVisits(20);
    }

    @Test
    void readersAreInsideTogether() throws Exception {
        InterProcessReadWriteLock one = new InterProcessReadWriteLock(client(), at("lock"));
        InterProcessReadWriteLock two = new InterProcessReadWriteLock(client(), at("lock"));

        assertTrue(one.readLock().acquire(SOON_MS, TimeUnit.MILLISECONDS));
        assertTrue(two.readLock().acquire(SOON_MS, TimeUnit.MILLISECONDS));
        assertEquals(2, one.readLock().getParticipantNodes().size());
        assertFalse(two.writeLock().acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));
        two.readLock().release();
        one.readLock().release();

        assertTrue(two.writeLock().acquire(SOON_MS, TimeUnit.MILLISECONDS));
        assertFalse(one.readLock().acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));
    }

    @Test
    void aWriterMayBecomeAReaderButNotTheOtherWayRound() throws Exception {
        InterProcessReadWriteLock one =
                new InterProcessReadWriteLock(client(), at("lock"), bytes("x"));
        InterProcessReadWriteLock two = new InterProcessReadWriteLock(client(), at("lock"));

        one.writeLock().acquire();
        one.readLock().acquire();
        one.writeLock().release();
        assertTrue(two.readLock().acquire(SOON_MS, TimeUnit.MILLISECONDS), "only a reader now");
        two.readLock().release();
        assertFalse(one.writeLock().acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));
        one.readLock().release();

        assertTrue(two.writeLock().acquire(SOON_MS, TimeUnit.MILLISECONDS));
    }

    @Test
    void aReaderDoesNotOvertakeAWaitingWriter() throws Exception {
        CuratorFramework client = client();
        InterProcessReadWriteLock reader = new InterProcessReadWriteLock(client, at("lock"));
        InterProcessReadWriteLock writer = new InterProcessReadWriteLock(client(), at("lock"));
        InterProcessReadWriteLock late = new InterProcessReadWriteLock(client(), at("lock"));
        Log<String> order = new Log<>();

        reader.readLock().acquire();
        Future<Void> writing =
                inThread(
                        () -> {
                            writer.writeLock().acquire();
                            order.add("writer");
                            writer.writeLock().release();
                            return null;
                        });
        awaitChildren(client, at("lock"), 2);
        Future<Void> reading =
                inThread(
                        () -> {
                            late.readLock().acquire();
                            order.add("late reader");
                            late.readLock().release();
                            return null;
                        });
        awaitChildren(client, at("lock"), 3);
        reader.readLock().release();
        get(writing);
        get(reading);

        assertEquals(List.of("writer", "late reader"), order.next(2));
    }

    // ---- InterProcessMultiLock ------------------------------------------------------------------

    @Test
    void aMultiLockTakesAllOrNone() throws Exception {
        CuratorFramework client = client();
        CuratorFramework other = client();
        InterProcessMultiLock all =
                new InterProcessMultiLock(client, List.of(at("a"), at("b"), at("c")));
        InterProcessMutex middle = new InterProcessMutex(other, at("b"));

        middle.acquire();
        assertFalse(all.acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));
        assertFalse(all.isAcquiredInThisProcess());
        for (String free : List.of("a", "c")) {
            InterProcessMutex probe = new InterProcessMutex(other, at(free));
            assertTrue(probe.acquire(SOON_MS, TimeUnit.MILLISECONDS), free + " was given back");
            probe.release();
        }
        middle.release();

        assertTrue(all.acquire(SOON_MS, TimeUnit.MILLISECONDS));
        for (String taken : List.of("a", "b", "c")) {
            InterProcessMutex probe = new InterProcessMutex(other, at(taken));
            assertFalse(probe.acquire(A_WHILE_MS, TimeUnit.MILLISECONDS), taken + " is taken");
        }
        all.release();
        assertTrue(middle.acquire(SOON_MS, TimeUnit.MILLISECONDS));
    }

    @Test
    void aMultiLockMixesKindsOfLocks() throws Exception {
        CuratorFramework client = client();
        InterProcessLock mutex = new InterProcessMutex(client, at("a"));
        InterProcessLock semaphore = new InterProcessSemaphoreMutex(client, at("b"));
        InterProcessMultiLock all = new InterProcessMultiLock(List.of(mutex, semaphore));

        all.acquire();
        assertTrue(mutex.isAcquiredInThisProcess());
        assertTrue(semaphore.isAcquiredInThisProcess());
        all.release();
        assertFalse(mutex.isAcquiredInThisProcess());
        assertFalse(semaphore.isAcquiredInThisProcess());
        assertThrows(Exception.class, all::release, "it is free already");
    }
}
