package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.CuratorEvent;
import org.apache.curator.framework.api.CuratorEventType;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.data.Stat;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.io.ByteArrayInputStream;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;

/** What the ensemble says of itself, and Curator's tracker that follows it. */
class ConfigTest extends ServerTest {
    private static final String CONFIG = "/zookeeper/config";

    @Test
    void theConfigCanBeReadAndWatched() throws Exception {
        CuratorFramework client = client();
        Stat stat = new Stat();
        Log<CuratorEvent> events = new Log<>();

        byte[] config = client.getConfig().storingStatIn(stat).forEnsemble();
        client.getConfig()
                .usingWatcher((Watcher) event -> {})
                .inBackground((c, event) -> events.add(event), "context")
                .forEnsemble();

        CuratorEvent event = events.next();
        assertEquals(CuratorEventType.GET_CONFIG, event.getType());
        assertEquals(0, event.getResultCode());
        assertArrayEquals(config, event.getData());
        assertEquals(client.checkExists().forPath(CONFIG), stat);
        assertArrayEquals(config, client.getData().forPath(CONFIG));
    }

    @Test
    void theTrackerKnowsTheMembersThatTheConfigNames() throws Exception {
        CuratorFramework client = client();
        byte[] config = client.getConfig().forEnsemble();

        Properties lines = new Properties();
        lines.load(new ByteArrayInputStream(config == null ? new byte[0] : config));
        Set<String> named =
                lines.entrySet().stream()
                        .filter(line -> line.getKey().toString().startsWith("server."))
                        .filter(line -> line.getValue().toString().contains(";"))
                        .map(line -> line.getKey().toString().substring("server.".length()))
                        .collect(Collectors.toSet());

        eventually(
                "the tracker has read the config",
                () ->
                        client.getCurrentConfig().getAllMembers().keySet().stream()
                                .map(String::valueOf)
                                .collect(Collectors.toSet())
                                .equals(named));
    }

    @Test
    void aTrackedClientComesBackAfterItsSessionIsLost() throws Exception {
        CuratorFramework client = roughClient(builder -> builder.ensembleTracker(true));
        Log<ConnectionState> states = statesOf(client);

        Sessions.end(client);
        states.until(ConnectionState.LOST);
        states.until(ConnectionState.RECONNECTED);

        assertFalse(client.getZookeeperClient().getCurrentConnectionString().isEmpty());
        assertNotNull(client.checkExists().forPath(root));
    }

    @Test
    void theSystemNodesAreThere() throws Exception {
        CuratorFramework client = client();

        List<String> children = client.getChildren().forPath("/zookeeper");
        assertTrue(children.containsAll(List.of("config", "quota")), children.toString());
        assertEquals(List.of(), client.getChildren().forPath(CONFIG));
    }

    @Test
    void reconfiguringIsRefusedWhereItIsOff() throws Exception {
        CuratorFramework client = client();

        KeeperException refusal =
                assertThrows(
                        KeeperException.class,
                        () ->
                                client.reconfig()
                                        .joining("server.9=127.0.0.1:1:2:participant;3")
                                        .forEnsemble());

        assertEquals(KeeperException.Code.RECONFIGDISABLED, refusal.code());
    }
}
