package rookeeper.compat.recipes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.atomic.AtomicInteger;

/**
 * Counts who is inside a guarded section, and how many have been.
 *
 * <p>It guards nothing itself: what fails here was let in by the lock under test.
 */
final class Crowd {
    private final int insideMax;
    private final AtomicInteger inside = new AtomicInteger();
    private final AtomicInteger insidePeak = new AtomicInteger();
    private final AtomicInteger visits = new AtomicInteger();

    /** Neither atomic nor volatile: with one visitor at a time it still adds up. */
    private int bareCount;

    Crowd(int insideMax) {
        this.insideMax = insideMax;
    }

    void enter() {
        int now = inside.incrementAndGet();
        insidePeak.accumulateAndGet(now, Math::max);
        assertTrue(now <= insideMax, now + " are inside, " + insideMax + " may be");
        visits.incrementAndGet();
    }

    void leave() {
        inside.decrementAndGet();
    }

    void visit() {
        enter();
        try {
            int before = bareCount;
            Thread.yield(); // Gives a second visitor, if there is one, the chance to spoil it.
            bareCount = before + 1;
        } finally {
            leave();
        }
    }

    int inside() {
        return inside.get();
    }

    int insidePeak() {
        return insidePeak.get();
    }

    void assertVisits(int count) {
        assertEquals(count, visits.get());
        assertEquals(0, inside.get());
        if (insideMax == 1) {
            assertEquals(count, bareCount, "an update was lost");
        }
    }
}
