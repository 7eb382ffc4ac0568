package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphore;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** A number of leases. */
class SemaphoreTest extends ServerTest {
    private static final long A_WHILE_MS = 150;

    @Test
    void noMoreAreInsideThanThereAreLeases() throws Exception {
        Crowd crowd = new Crowd(3);
        List<Future<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            InterProcessSemaphoreV2 semaphore =
                    new InterProcessSemaphoreV2(client(), at("semaphore"), 3);
            workers.add(
                    inThread(
                            () -> {
                                for (int round = 0; round < 8; round++) {
                                    Lease lease = semaphore.acquire();
                                    crowd.visit();
                                    semaphore.returnLease(lease);
                                }
                                return null;
                            }));
        }
        for (Future<Void> worker : workers) {
            get(worker);
        }

        crowd.assertVisits(48);
        awaitChildren(client(), at("semaphore/leases"), 0);
    }

    @Test
    void allLeasesCanBeOutAtOnceAndOneMoreWaits() throws Exception {
        CuratorFramework client = client();
        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, at("s"), 3);
        InterProcessSemaphoreV2 other = new InterProcessSemaphoreV2(client(), at("s"), 3);
        semaphore.setNodeData(bytes("mine"));

        Collection<Lease> leases = semaphore.acquire(3);
        assertEquals(3, semaphore.getParticipantNodes().size());
        for (Lease lease : leases) {
            assertEquals("mine", text(lease.getData()));
            assertTrue(semaphore.getParticipantNodes().contains(lease.getNodeName()));
        }
        assertNull(other.acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));
        Future<Lease> waiting = inThread(() -> other.acquire(SOON_MS, TimeUnit.MILLISECONDS));
        semaphore.returnLease(leases.iterator().next());

        assertNotNull(get(waiting));
        semaphore.returnAll(leases);
    }

    @Test
    void severalLeasesAreTakenTogetherOrNotAtAll() throws Exception {
        CuratorFramework client = client();
        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, at("s"), 4);

        Collection<Lease> two = semaphore.acquire(2, SOON_MS, TimeUnit.MILLISECONDS);
        assertNull(semaphore.acquire(3, A_WHILE_MS, TimeUnit.MILLISECONDS));
        awaitChildren(client, at("s/leases"), 2);
        assertEquals(2, semaphore.acquire(2, SOON_MS, TimeUnit.MILLISECONDS).size());
        semaphore.returnAll(two);

        awaitChildren(client, at("s/leases"), 2);
    }

    @Test
    void aSharedCountSetsTheNumberOfLeases() throws Exception {
        SharedCount count = closing(new SharedCount(client(), at("count"), 1));
        count.start();
        SharedCount remote = closing(new SharedCount(client(), at("count"), 1));
        remote.start();
        InterProcessSemaphoreV2 semaphore =
                new InterProcessSemaphoreV2(client(), at("semaphore"), count);
        Lease only = semaphore.acquire(SOON_MS, TimeUnit.MILLISECONDS);
        assertNull(semaphore.acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));

        Future<Lease> waiting = inThread(() -> semaphore.acquire(SOON_MS, TimeUnit.MILLISECONDS));
        remote.setCount(2);

        assertNotNull(get(waiting));
        semaphore.returnLease(only);
    }

    @Test
    void theLeasesOfADeadSessionComeBack() throws Exception {
        CuratorFramework victim = roughClient();
        new InterProcessSemaphoreV2(victim, at("s"), 2).acquire(2);
        InterProcessSemaphoreV2 other = new InterProcessSemaphoreV2(client(), at("s"), 2);
        assertNull(other.acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));

        Sessions.end(victim);

        assertEquals(2, other.acquire(2, SOON_MS, TimeUnit.MILLISECONDS).size());
    }

    @Test
    void theFirstVersionOfTheSemaphoreKeepsItsCountToo() throws Exception {
        Crowd crowd = new Crowd(2);
        List<Future<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            InterProcessSemaphore semaphore = new InterProcessSemaphore(client(), at("old"), 2);
            workers.add(
                    inThread(
                            () -> {
                                for (int round = 0; round < 5; round++) {
                                    Lease lease = semaphore.acquire();
                                    crowd.visit();
                                    semaphore.returnLease(lease);
                                }
                                return null;
                            }));
        }
        for (Future<Void> worker : workers) {
            get(worker);
        }
        crowd.assertVisits(20);

        InterProcessSemaphore semaphore = new InterProcessSemaphore(client(), at("old"), 2);
        Collection<Lease> leases = semaphore.acquire(2, SOON_MS, TimeUnit.MILLISECONDS);
        assertFalse(leases.isEmpty());
        assertNull(semaphore.acquire(A_WHILE_MS, TimeUnit.MILLISECONDS));
        semaphore.returnAll(leases);
        assertNotNull(semaphore.acquire(SOON_MS, TimeUnit.MILLISECONDS));
    }
}
