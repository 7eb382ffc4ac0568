package rookeeper.compat.support;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** What happened, in order, as callbacks of any thread tell it; tests take it with a time limit. */
public final class Log<T> {
    private final LinkedBlockingQueue<T> entries = new LinkedBlockingQueue<>();

    public void add(T entry) {
        entries.add(entry);
    }

    /** The next entry, whatever it is. */
    public T next() throws InterruptedException {
        T entry = entries.poll(ServerTest.SOON_MS, TimeUnit.MILLISECONDS);
        return entry != null ? entry : fail("nothing happened in " + ServerTest.SOON_MS + " ms");
    }

    /** The next {@code count} entries. */
    public List<T> next(int count) throws InterruptedException {
        List<T> taken = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            T entry = entries.poll(ServerTest.SOON_MS, TimeUnit.MILLISECONDS);
            if (entry == null) {
                fail("after " + taken + " nothing happened in " + ServerTest.SOON_MS + " ms");
            }
            taken.add(entry);
        }
        return taken;
    }

    /** Takes entries until one fits, and returns all of them, that one last. */
    public List<T> until(Predicate<T> fits) throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(ServerTest.SOON_MS);
        List<T> taken = new ArrayList<>();
        while (true) {
            T entry = entries.poll(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
            if (entry == null) {
                fail("waited in vain; seen so far: " + taken);
            }
            taken.add(entry);
            if (fits.test(entry)) {
                return taken;
            }
        }
    }

    /** Waits for this very entry and returns those before it and itself. */
    public List<T> until(T entry) throws InterruptedException {
        return until(entry::equals);
    }

    public boolean isEmpty() {
        return entries.isEmpty();
    }

    /**
     * Nothing is left over. Only says something after an event that would have come later, so let
     * such an event happen first.
     */
    public void assertEmpty() {
        assertEquals(List.of(), new ArrayList<>(entries));
    }
}
