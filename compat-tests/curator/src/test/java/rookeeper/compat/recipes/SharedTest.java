package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedCountListener;
import org.apache.curator.framework.recipes.shared.SharedCountReader;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.framework.recipes.shared.SharedValueListener;
import org.apache.curator.framework.recipes.shared.SharedValueReader;
import org.apache.curator.framework.recipes.shared.VersionedValue;
import org.apache.curator.framework.state.ConnectionState;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;

/** A number or a value that everybody sees. */
class SharedTest extends ServerTest {
    @Test
    void everybodyHearsOfANewCount() throws Exception {
        SharedCount one = count(client(), 7);
        SharedCount two = count(client(), 99);
        Log<Integer> counts = new Log<>();
        two.addListener(
                new SharedCountListener() {
                    @Override
                    public void countHasChanged(SharedCountReader count, int newCount) {
                        counts.add(newCount);
                    }

                    @Override
                    public void stateChanged(CuratorFramework client, ConnectionState state) {}
                });

        assertEquals(7, two.getCount(), "the first one's seed counts");
        one.setCount(8);
        assertEquals(8, counts.next());
        one.setCount(9);
        assertEquals(9, counts.next());
        assertEquals(9, two.getCount());
    }

    @Test
    void aTrySetWithAnOldVersionIsRefused() throws Exception {
        SharedCount one = count(client(), 0);
        SharedCount two = count(client(), 0);
        VersionedValue<Integer> old = one.getVersionedValue();

        assertTrue(two.trySetCount(two.getVersionedValue(), 1));
        assertFalse(one.trySetCount(old, 2), "the version is used up");

        assertEquals(1, one.getCount(), "and the refusal brings the new value");
        assertTrue(one.trySetCount(one.getVersionedValue(), 2));
        assertTrue(one.trySetCount(3));
    }

    @Test
    void countingTogetherLosesNothing() throws Exception {
        int each = 25;
        List<Future<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            SharedCount count = count(client(), 0);
            workers.add(
                    inThread(
                            () -> {
                                for (int done = 0; done < each; ) {
                                    VersionedValue<Integer> value = count.getVersionedValue();
                                    if (count.trySetCount(value, value.getValue() + 1)) {
                                        done++;
                                    }
                                }
                                return null;
                            }));
        }
        for (Future<Void> worker : workers) {
            get(worker);
        }

        assertEquals(4 * each, count(client(), 0).getCount());
    }

    @Test
    void aValueIsSharedWithItsVersion() throws Exception {
        CuratorFramework client = client();
        SharedValue one = closing(new SharedValue(client, at("value"), bytes("seed")));
        SharedValue two = closing(new SharedValue(client(), at("value"), bytes("other seed")));
        Log<String> values = new Log<>();
        one.start();
        two.start();
        two.getListenable()
                .addListener(
                        new SharedValueListener() {
                            @Override
                            public void valueHasChanged(SharedValueReader value, byte[] newValue) {
                                values.add(text(newValue));
                            }

                            @Override
                            public void stateChanged(CuratorFramework c, ConnectionState state) {}
                        });

        assertEquals("seed", text(two.getValue()));
        VersionedValue<byte[]> seed = one.getVersionedValue();
        assertTrue(one.trySetValue(seed, bytes("new")));
        assertEquals("new", values.next());
        assertFalse(two.trySetValue(seed, bytes("newer")));
        two.setValue(bytes("newest"));
        assertEquals("newest", text(client, at("value")));
        assertEquals(2, client.checkExists().forPath(at("value")).getVersion());
        eventually("it is heard of", () -> text(one.getValue()).equals("newest"));
    }

    @Test
    void aNewSessionCatchesUpWithTheValue() throws Exception {
        CuratorFramework victim = roughClient();
        SharedCount watched = count(victim, 1);
        SharedCount changed = count(client(), 1);
        Log<ConnectionState> states = statesOf(victim);

        Sessions.end(victim);
        changed.setCount(2);
        states.until(ConnectionState.RECONNECTED);

        eventually("the value of meanwhile is read", () -> watched.getCount() == 2);
        changed.setCount(3);
        eventually("the watch is set again", () -> watched.getCount() == 3);
    }

    private SharedCount count(CuratorFramework client, int seed) throws Exception {
        SharedCount count = closing(new SharedCount(client, at("count"), seed));
        count.start();
        return count;
    }
}
