package rookeeper.compat.support;

import static org.junit.jupiter.api.Assertions.fail;

import org.apache.curator.framework.CuratorFramework;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Ends sessions behind the back of the client that owns them. */
public final class Sessions {
    /** The owner may win its session back this many times before we give up. */
    private static final int ATTEMPTS_MAX = 5;

    private Sessions() {}

    public static long idOf(CuratorFramework client) throws Exception {
        return client.getZookeeperClient().getZooKeeper().getSessionId();
    }

    /**
     * Ends the session of {@code victim} for good; when this returns the server knows it no more.
     *
     * <p>A second client attaches to the session by its id and password and closes it. The victim,
     * thrown out when the second one attaches, reconnects at a random moment within a second. If it
     * comes back before the close was sent, the session lives on; so we attach again until the
     * server says that the session has expired.
     */
    public static void end(CuratorFramework victim) throws Exception {
        ZooKeeper zk = victim.getZookeeperClient().getZooKeeper();
        long id = zk.getSessionId();
        byte[] password = zk.getSessionPasswd();
        for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
            if (attach(id, password) == KeeperState.Expired) {
                return;
            }
        }
        fail("session 0x" + Long.toHexString(id) + " survives being closed");
    }

    /** Attaches to a session, closes it, and returns how the server answered the attaching. */
    public static KeeperState attach(long id, byte[] password) throws Exception {
        LinkedBlockingQueue<KeeperState> states = new LinkedBlockingQueue<>();
        ZooKeeper rival =
                new ZooKeeper(
                        Server.CONNECT,
                        20 * Server.TICK_MS,
                        event -> {
                            if (event.getType() == EventType.None
                                    && event.getState() != KeeperState.Disconnected) {
                                states.add(event.getState());
                            }
                        },
                        id,
                        password);
        try {
            KeeperState state = states.poll(ServerTest.SOON_MS, TimeUnit.MILLISECONDS);
            return state != null ? state : fail("no answer to an attempt to attach to a session");
        } finally {
            rival.close();
        }
    }
}
