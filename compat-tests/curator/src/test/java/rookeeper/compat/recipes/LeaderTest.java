package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.AfterConnectionEstablished;
import org.apache.curator.framework.recipes.leader.CancelLeadershipException;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.framework.state.StandardConnectionStateErrorPolicy;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.io.EOFException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** One leads, the others wait. */
class LeaderTest extends ServerTest {
    private final Log<String> events = new Log<>();

    // ---- LeaderLatch ----------------------------------------------------------------------------

    @Test
    void leadershipPassesInTheOrderOfTheLatchesZxids() throws Exception {
        CuratorFramework client = client();
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            LeaderLatch latch = new LeaderLatch(client(), at("latch"), "p" + i);
            latch.addListener(logging("p" + i));
            latch.start();
            latches.add(latch);
            awaitChildren(client, at("latch"), i + 1);
        }

        long last = 0;
        for (int i = 0; i < 4; i++) {
            LeaderLatch latch = latches.get(i);
            assertTrue(latch.await(SOON_MS, TimeUnit.MILLISECONDS));
            assertEquals("p" + i + " leads", events.next());
            assertEquals(
                    1, latches.stream().filter(LeaderLatch::hasLeadership).count(), "one leads");
            assertEquals("p" + i, latches.get(3).getLeader().getId());
            assertEquals(4 - i, latches.get(3).getParticipants().size());
            Stat stat = client.checkExists().forPath(latch.getOurPath());
            assertTrue(stat.getCzxid() > last);
            last = stat.getCzxid();
            assertEquals(latch.getOurPath(), latch.getLastPathIsLeader());
            latch.close();
        }
        awaitChildren(client, at("latch"), 0);
    }

    @Test
    void aLatchLosesItsLeadWithItsSessionAndQueuesAgain() throws Exception {
        CuratorFramework victim = roughClient();
        CuratorFramework client = client();
        LeaderLatch first = closing(new LeaderLatch(victim, at("latch"), "first"));
        first.addListener(logging("first"));
        first.start();
        assertEquals("first leads", events.next());
        String lostNode = first.getOurPath();
        LeaderLatch second = new LeaderLatch(client, at("latch"), "second");
        second.addListener(logging("second"));
        second.start();
        awaitChildren(client, at("latch"), 2);

        Sessions.end(victim);

        assertEquals(
                List.of("first stops", "second leads"),
                events.next(2).stream().sorted().collect(Collectors.toList()));
        awaitChildren(client, at("latch"), 2);
        eventually("it has a new node", () -> !lostNode.equals(first.getOurPath()));
        assertFalse(first.hasLeadership());
        second.close();
        assertTrue(first.await(SOON_MS, TimeUnit.MILLISECONDS));
        assertEquals("first leads", events.next());
    }

    @Test
    void aClosingLatchTellsItsListenersIfAsked() throws Exception {
        CuratorFramework client = client();
        LeaderLatch silent = new LeaderLatch(client, at("a"), "", LeaderLatch.CloseMode.SILENT);
        LeaderLatch loud =
                new LeaderLatch(client, at("b"), "", LeaderLatch.CloseMode.NOTIFY_LEADER);
        silent.addListener(logging("silent"));
        loud.addListener(logging("loud"));
        silent.start();
        assertEquals("silent leads", events.next());
        loud.start();
        assertEquals("loud leads", events.next());

        silent.close();
        loud.close();

        assertEquals("loud stops", events.next());
        events.assertEmpty();
        assertEquals(LeaderLatch.State.CLOSED, silent.getState());
    }

    @Test
    void waitingForTheLeadEndsWithTheLatch() throws Exception {
        LeaderLatch leader = closing(new LeaderLatch(client(), at("latch")));
        leader.start();
        leader.await();
        LeaderLatch waiting = new LeaderLatch(client(), at("latch"));
        waiting.start();
        assertFalse(waiting.await(100, TimeUnit.MILLISECONDS));
        CountDownLatch started = new CountDownLatch(1);
        Future<Void> waiter =
                inThread(
                        () -> {
                            started.countDown();
                            assertThrows(EOFException.class, waiting::await);
                            return null;
                        });

        await(started);
        waiting.close();

        get(waiter);
    }

    @Test
    void workStartsOnceTheConnectionStands() throws Exception {
        CuratorFramework client = client();
        CountDownLatch ran = new CountDownLatch(1);

        AfterConnectionEstablished.execute(client, ran::countDown);

        await(ran);
    }

    // ---- LeaderSelector -------------------------------------------------------------------------

    @Test
    void everybodyLeadsInTurnAndNobodyBesideAnother() throws Exception {
        Crowd crowd = new Crowd(1);
        int rounds = 3;
        List<LeaderSelector> selectors = new ArrayList<>();
        Map<String, CountDownLatch> turns = new HashMap<>();
        for (int i = 0; i < 3; i++) {
            CountDownLatch ownTurns = new CountDownLatch(rounds);
            turns.put("s" + i, ownTurns);
            LeaderSelector selector =
                    closing(
                            new LeaderSelector(
                                    client(),
                                    at("leader"),
                                    new LeaderSelectorListenerAdapter() {
                                        @Override
                                        public void takeLeadership(CuratorFramework c) {
                                            crowd.visit();
                                            ownTurns.countDown();
                                        }
                                    }));
            selector.setId("s" + i);
            selector.autoRequeue();
            selectors.add(selector);
        }

        selectors.forEach(LeaderSelector::start);

        for (CountDownLatch ownTurns : turns.values()) {
            await(ownTurns);
        }
        assertEquals(1, crowd.insidePeak());
    }

    @Test
    void theLeaderAndTheCandidatesAreKnown() throws Exception {
        CuratorFramework client = client();
        List<LeaderSelector> selectors = new ArrayList<>();
        CountDownLatch release = new CountDownLatch(1);
        Log<String> leaders = new Log<>();
        for (int i = 0; i < 3; i++) {
            String id = "s" + i;
            LeaderSelector selector =
                    closing(
                            new LeaderSelector(
                                    client(),
                                    at("leader"),
                                    threads(),
                                    new LeaderSelectorListenerAdapter() {
                                        @Override
                                        public void takeLeadership(CuratorFramework c)
                                                throws Exception {
                                            leaders.add(id);
                                            await(release);
                                        }
                                    }));
            selector.setId(id);
            selector.start();
            selectors.add(selector);
            awaitChildren(client, at("leader"), i + 1);
        }

        assertEquals("s0", leaders.next());
        assertTrue(selectors.get(0).hasLeadership());
        assertFalse(selectors.get(1).hasLeadership());
        assertEquals("s0", selectors.get(2).getLeader().getId());
        assertEquals(
                List.of("s0 true", "s1 false", "s2 false"),
                selectors.get(1).getParticipants().stream()
                        .map(LeaderTest::describe)
                        .sorted()
                        .collect(Collectors.toList()));
        release.countDown();
        assertEquals(List.of("s1", "s2"), leaders.next(2));
        awaitChildren(client, at("leader"), 0);
        assertTrue(selectors.get(0).requeue());
        assertEquals("s0", leaders.next());
    }

    @Test
    void aLeaderCanBeInterrupted() throws Exception {
        CountDownLatch never = new CountDownLatch(1);
        LeaderSelector selector =
                closing(
                        new LeaderSelector(
                                client(),
                                at("leader"),
                                new LeaderSelectorListenerAdapter() {
                                    @Override
                                    public void takeLeadership(CuratorFramework c)
                                            throws Exception {
                                        events.add("leads");
                                        try {
                                            never.await();
                                        } finally {
                                            events.add("stops");
                                        }
                                    }
                                }));
        selector.start();
        assertEquals("leads", events.next());

        selector.interruptLeadership();

        assertEquals("stops", events.next());
        eventually("it has given up", () -> !selector.hasLeadership());
        assertTrue(selector.requeue());
        assertEquals("leads", events.next());
    }

    @Test
    void aLeaderIsInterruptedWhenItsSessionEndsAndAnotherLeads() throws Exception {
        CuratorFramework victim = roughClient();
        CuratorFramework client = client();
        CountDownLatch never = new CountDownLatch(1);
        List<LeaderSelector> selectors = new ArrayList<>();
        for (CuratorFramework c : List.of(victim, client)) {
            String name = c == victim ? "victim" : "other";
            LeaderSelector selector =
                    closing(
                            new LeaderSelector(
                                    c,
                                    at("leader"),
                                    new LeaderSelectorListenerAdapter() {
                                        @Override
                                        public void takeLeadership(CuratorFramework ignored)
                                                throws Exception {
                                            events.add(name + " leads");
                                            try {
                                                never.await();
                                            } finally {
                                                events.add(name + " stops");
                                            }
                                        }

                                        @Override
                                        public void stateChanged(
                                                CuratorFramework ignored, ConnectionState state) {
                                            if (new StandardConnectionStateErrorPolicy()
                                                    .isErrorState(state)) {
                                                throw new CancelLeadershipException();
                                            }
                                        }
                                    }));
            selector.start();
            selectors.add(selector);
            awaitChildren(client, at("leader"), selectors.size());
        }
        assertEquals("victim leads", events.next());
        String before = selectors.get(0).getLeader().getId();

        Sessions.end(victim);

        assertEquals(
                List.of("other leads", "victim stops"),
                events.next(2).stream().sorted().collect(Collectors.toList()));
        assertTrue(selectors.get(1).hasLeadership());
        assertFalse(selectors.get(0).hasLeadership());
        assertNotEquals("no one", before);
    }

    private LeaderLatchListener logging(String name) {
        return new LeaderLatchListener() {
            @Override
            public void isLeader() {
                events.add(name + " leads");
            }

            @Override
            public void notLeader() {
                events.add(name + " stops");
            }
        };
    }

    private static String describe(Participant participant) {
        return participant.getId() + " " + participant.isLeader();
    }
}
