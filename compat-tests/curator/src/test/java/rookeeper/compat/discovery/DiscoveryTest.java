package rookeeper.compat.discovery;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.x.discovery.DownInstancePolicy;
import org.apache.curator.x.discovery.ServiceCache;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceProvider;
import org.apache.curator.x.discovery.ServiceType;
import org.apache.curator.x.discovery.UriSpec;
import org.apache.curator.x.discovery.details.JsonInstanceSerializer;
import org.apache.curator.x.discovery.details.ServiceCacheListener;
import org.apache.curator.x.discovery.strategies.RandomStrategy;
import org.apache.curator.x.discovery.strategies.RoundRobinStrategy;
import org.apache.curator.x.discovery.strategies.StickyStrategy;
import org.junit.jupiter.api.Test;

import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;
import rookeeper.compat.support.Sessions;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** Services that announce themselves and are found. */
class DiscoveryTest extends ServerTest {
    @Test
    void aServiceIsFoundWithAllThatItSaysOfItself() throws Exception {
        CuratorFramework client = client();
        ServiceDiscovery<String> discovery = discovery(client);
        ServiceInstance<String> instance =
                ServiceInstance.<String>builder()
                        .name("web")
                        .id("one")
                        .address("127.0.0.1")
                        .port(8080)
                        .sslPort(8443)
                        .payload("the payload")
                        .uriSpec(new UriSpec("{scheme}://{address}:{port}"))
                        .build();

        discovery.registerService(instance);
        ServiceDiscovery<String> other = discovery(client());

        assertEquals(Set.of("web"), Set.copyOf(other.queryForNames()));
        ServiceInstance<String> found = other.queryForInstance("web", "one");
        assertEquals(instance, found);
        assertEquals("the payload", found.getPayload());
        assertEquals(8443, found.getSslPort());
        assertEquals("https://127.0.0.1:8080", found.buildUriSpec());
        assertNull(other.queryForInstance("web", "two"));
        assertTrue(other.queryForInstances("mail").isEmpty());
        assertEquals(
                Sessions.idOf(client),
                client.checkExists().forPath(at("services/web/one")).getEphemeralOwner());

        discovery.unregisterService(instance);
        assertTrue(other.queryForInstances("web").isEmpty());
        awaitDeleted(client, at("services/web"));
    }

    @Test
    void anInstanceCanBeUpdatedAndMayBeLasting() throws Exception {
        ServiceDiscovery<String> discovery = discovery(client());
        ServiceDiscovery<String> other = discovery(client());
        ServiceInstance<String> lasting =
                ServiceInstance.<String>builder()
                        .name("web")
                        .id("one")
                        .payload("1")
                        .serviceType(ServiceType.PERMANENT)
                        .build();
        discovery.registerService(lasting);

        discovery.updateService(
                ServiceInstance.<String>builder()
                        .name("web")
                        .id("one")
                        .payload("2")
                        .serviceType(ServiceType.PERMANENT)
                        .build());

        assertEquals("2", other.queryForInstance("web", "one").getPayload());
    }

    @Test
    void aServiceIsForgottenWithItsSessionAndAnnouncedAgainInTheNext() throws Exception {
        CuratorFramework victim = roughClient();
        ServiceDiscovery<String> discovery = discovery(victim);
        ServiceDiscovery<String> other = discovery(client());
        discovery.registerService(instance("web", "one"));
        Log<ConnectionState> states = statesOf(victim);

        Sessions.end(victim);
        states.until(ConnectionState.RECONNECTED);

        eventually("it is back", () -> other.queryForInstance("web", "one") != null);
        discovery.close();
        assertTrue(other.queryForInstances("web").isEmpty());
    }

    @Test
    void aProviderSpreadsItsAnswersAsItsStrategySays() throws Exception {
        ServiceDiscovery<String> discovery = discovery(client());
        for (String id : List.of("a", "b", "c")) {
            discovery.registerService(instance("web", id));
        }

        ServiceProvider<String> roundRobin =
                started(
                        discovery
                                .serviceProviderBuilder()
                                .serviceName("web")
                                .providerStrategy(new RoundRobinStrategy<>())
                                .build());
        List<String> round = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            round.add(roundRobin.getInstance().getId());
        }
        assertEquals(Set.of("a", "b", "c"), new HashSet<>(round.subList(0, 3)));
        assertEquals(round.subList(0, 3), round.subList(3, 6));
        assertEquals(3, roundRobin.getAllInstances().size());

        ServiceProvider<String> sticky =
                started(
                        discovery
                                .serviceProviderBuilder()
                                .serviceName("web")
                                .providerStrategy(new StickyStrategy<>(new RandomStrategy<>()))
                                .build());
        ServiceInstance<String> chosen = sticky.getInstance();
        for (int i = 0; i < 10; i++) {
            assertEquals(chosen, sticky.getInstance());
        }
        discovery.unregisterService(chosen);
        eventually("another is chosen", () -> !chosen.equals(sticky.getInstance()));

        ServiceProvider<String> picky =
                started(
                        discovery
                                .serviceProviderBuilder()
                                .serviceName("web")
                                .additionalFilter(i -> !i.getId().equals("a"))
                                .build());
        assertTrue(picky.getAllInstances().stream().noneMatch(i -> i.getId().equals("a")));
    }

    @Test
    void anInstanceWithErrorsIsLeftOutForAWhile() throws Exception {
        ServiceDiscovery<String> discovery = discovery(client());
        discovery.registerService(instance("web", "good"));
        discovery.registerService(instance("web", "bad"));
        ServiceProvider<String> provider =
                started(
                        discovery
                                .serviceProviderBuilder()
                                .serviceName("web")
                                .downInstancePolicy(
                                        new DownInstancePolicy(500, TimeUnit.MILLISECONDS, 2))
                                .build());
        ServiceInstance<String> bad = discovery.queryForInstance("web", "bad");

        provider.noteError(bad);
        assertEquals(2, provider.getAllInstances().size());
        provider.noteError(bad);
        assertEquals(1, provider.getAllInstances().size());
        assertEquals("good", provider.getInstance().getId());

        eventually("it is forgiven", () -> provider.getAllInstances().size() == 2);
    }

    @Test
    void aCacheFollowsTheInstancesAndTellsItsListeners() throws Exception {
        ServiceDiscovery<String> discovery = discovery(client());
        ServiceDiscovery<String> other = discovery(client());
        discovery.registerService(instance("web", "a"));
        ServiceCache<String> cache = closing(other.serviceCacheBuilder().name("web").build());
        Log<String> changes = new Log<>();
        cache.addListener(
                new ServiceCacheListener() {
                    @Override
                    public void cacheChanged() {
                        changes.add("changed");
                    }

                    @Override
                    public void stateChanged(CuratorFramework c, ConnectionState state) {}
                });

        cache.start();
        assertEquals(List.of("a"), ids(cache));
        discovery.registerService(instance("web", "b"));
        changes.next();
        eventually("b is in", () -> ids(cache).equals(List.of("a", "b")));
        discovery.unregisterService(instance("web", "a"));
        changes.next();
        eventually("a is out", () -> ids(cache).equals(List.of("b")));

        ServiceCache<String> immediate = closing(other.serviceCacheBuilder().name("web").build());
        await(immediate.startImmediate());
        assertEquals(List.of("b"), ids(immediate));
    }

    @Test
    void aWatchingDiscoveryTakesOverWhatOthersChangeInItsInstances() throws Exception {
        CuratorFramework victim = roughClient();
        ServiceDiscovery<String> other = discovery(client());
        ServiceDiscovery<String> watching =
                closing(
                        ServiceDiscoveryBuilder.builder(String.class)
                                .client(victim)
                                .basePath(at("services"))
                                .thisInstance(instance("web", "own"))
                                .watchInstances(true)
                                .build());
        watching.start();
        eventually("it is announced", () -> other.queryForInstance("web", "own") != null);
        passQueue(victim);

        // What the owner announces in its next session shows what it heard in this one.
        ServiceInstance<String> changed =
                ServiceInstance.<String>builder().name("web").id("own").payload("changed").build();
        client().setData()
                .forPath(
                        at("services/web/own"),
                        new JsonInstanceSerializer<>(String.class).serialize(changed));
        passQueue(victim);
        Sessions.end(victim);

        eventually(
                "it is announced again, as changed",
                () -> {
                    ServiceInstance<String> found = other.queryForInstance("web", "own");
                    return found != null && found.getPayload().equals("changed");
                });
    }

    private ServiceDiscovery<String> discovery(CuratorFramework client) throws Exception {
        ServiceDiscovery<String> discovery =
                closing(
                        ServiceDiscoveryBuilder.builder(String.class)
                                .client(client)
                                .basePath(at("services"))
                                .build());
        discovery.start();
        return discovery;
    }

    private ServiceProvider<String> started(ServiceProvider<String> provider) throws Exception {
        closing(provider);
        provider.start();
        return provider;
    }

    private static ServiceInstance<String> instance(String name, String id) throws Exception {
        return ServiceInstance.<String>builder()
                .name(name)
                .id(id)
                .address("127.0.0.1")
                .port(1)
                .payload(id)
                .build();
    }

    private static List<String> ids(ServiceCache<String> cache) {
        return cache.getInstances().stream()
                .map(ServiceInstance::getId)
                .sorted()
                .collect(Collectors.toList());
    }
}
