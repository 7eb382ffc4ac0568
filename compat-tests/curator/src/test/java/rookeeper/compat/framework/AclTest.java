package rookeeper.compat.framework;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.curator.framework.AuthInfo;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.ACLProvider;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.auth.DigestAuthenticationProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

import rookeeper.compat.support.Link;
import rookeeper.compat.support.Log;
import rookeeper.compat.support.ServerTest;

import java.util.List;

/** Who may do what. */
class AclTest extends ServerTest {
    @Test
    void onlyTheCreatorMayTouchItsNode() throws Exception {
        CuratorFramework owner = owner();
        CuratorFramework guest = guest();
        CuratorFramework nobody = client();
        CuratorFramework sameUser = owner();

        String path = owner.create().withACL(Ids.CREATOR_ALL_ACL).forPath(at("a"), bytes("mine"));

        for (CuratorFramework other : List.of(guest, nobody)) {
            assertNoAuth(() -> other.getData().forPath(path));
            assertNoAuth(() -> other.setData().forPath(path, bytes("stolen")));
            assertNoAuth(() -> other.getChildren().forPath(path));
            assertNoAuth(() -> other.create().forPath(path + "/child"));
            assertNoAuth(() -> other.setACL().withACL(Ids.OPEN_ACL_UNSAFE).forPath(path));
            assertNoAuth(() -> other.checkExists().forPath(path));
        }
        assertEquals("mine", text(sameUser, path));
        sameUser.setData().forPath(path, bytes("ours"));
        assertEquals("ours", text(owner, path));
    }

    @Test
    void theCreatorIsStoredAsADigest() throws Exception {
        CuratorFramework owner = owner();
        String digest = DigestAuthenticationProvider.generateDigest(Passwords.OWNER);

        owner.create().withACL(Ids.CREATOR_ALL_ACL).forPath(at("a"));

        assertEquals(
                List.of(new ACL(Perms.ALL, new Id("digest", digest))),
                owner.getACL().forPath(at("a")));
    }

    @Test
    void aDigestIsShownToAdminsOnly() throws Exception {
        CuratorFramework owner = owner();
        CuratorFramework nobody = client();
        String digest = DigestAuthenticationProvider.generateDigest(Passwords.OWNER);
        List<ACL> acl =
                List.of(
                        new ACL(Perms.READ, Ids.ANYONE_ID_UNSAFE),
                        new ACL(Perms.ALL, new Id("digest", digest)));

        owner.create().withACL(acl).forPath(at("a"));

        assertEquals(acl, owner.getACL().forPath(at("a")));
        assertEquals("owner:x", nobody.getACL().forPath(at("a")).get(1).getId().getId());
    }

    @Test
    void eachPermissionGrantsItsOwnOperation() throws Exception {
        CuratorFramework owner = owner();
        CuratorFramework guest = guest();

        grant(owner, "read", Perms.READ);
        assertEquals("0", text(guest, at("read")));
        assertEquals(List.of("child"), guest.getChildren().forPath(at("read")));
        assertNoAuth(() -> guest.setData().forPath(at("read"), bytes("1")));

        grant(owner, "write", Perms.WRITE);
        guest.setData().forPath(at("write"), bytes("1"));
        assertNoAuth(() -> guest.getData().forPath(at("write")));

        grant(owner, "create", Perms.CREATE);
        guest.create().forPath(at("create/new"));
        assertNoAuth(() -> guest.delete().forPath(at("create/new")));

        grant(owner, "delete", Perms.DELETE);
        guest.delete().forPath(at("delete/child"));
        assertNoAuth(() -> guest.create().forPath(at("delete/new")));

        grant(owner, "admin", Perms.ADMIN);
        assertNoAuth(() -> guest.getData().forPath(at("admin")));
        guest.setACL().withACL(Ids.OPEN_ACL_UNSAFE).forPath(at("admin"));
        assertEquals("0", text(guest, at("admin")));
    }

    @Test
    void theAclHasAVersionOfItsOwn() throws Exception {
        CuratorFramework client = client();
        client.create().forPath(at("a"));
        Stat stat = new Stat();

        assertEquals(Ids.OPEN_ACL_UNSAFE, client.getACL().storingStatIn(stat).forPath(at("a")));
        assertEquals(0, stat.getAversion());
        List<ACL> readOnly = List.of(new ACL(Perms.READ | Perms.ADMIN, Ids.ANYONE_ID_UNSAFE));
        Stat changed = client.setACL().withVersion(0).withACL(readOnly).forPath(at("a"));
        assertEquals(1, changed.getAversion());
        assertEquals(0, changed.getVersion());
        assertThrows(
                KeeperException.BadVersionException.class,
                () -> client.setACL().withVersion(0).withACL(Ids.OPEN_ACL_UNSAFE).forPath(at("a")));
        assertNoAuth(() -> client.setData().forPath(at("a"), bytes("1")));
        assertEquals(readOnly, client.getACL().forPath(at("a")));
    }

    @Test
    void senselessAclsAreRefused() throws Exception {
        CuratorFramework nobody = client();

        assertInvalid(nobody, Ids.CREATOR_ALL_ACL);
        assertInvalid(nobody, List.of(new ACL(Perms.ALL, new Id("world", "somebody"))));
        assertInvalid(nobody, List.of(new ACL(Perms.ALL, new Id("digest", "no colon"))));
        assertInvalid(nobody, List.of(new ACL(Perms.ALL, new Id("nosuch", "scheme"))));
        assertEquals(List.of(), nobody.getChildren().forPath(root));
    }

    @Test
    void addressesAreIdentities() throws Exception {
        CuratorFramework client = client();
        List<ACL> local = List.of(new ACL(Perms.ALL, new Id("ip", "127.0.0.0/8")));
        List<ACL> elsewhere =
                List.of(
                        new ACL(Perms.ALL, new Id("ip", "192.0.2.1")),
                        new ACL(Perms.ADMIN, Ids.ANYONE_ID_UNSAFE));

        client.create().withACL(local).forPath(at("local"), bytes("here"));
        client.create().withACL(elsewhere).forPath(at("elsewhere"), bytes("there"));

        assertEquals("here", text(client, at("local")));
        assertNoAuth(() -> client.getData().forPath(at("elsewhere")));
        client.setACL().withACL(Ids.OPEN_ACL_UNSAFE).forPath(at("elsewhere"));
        assertEquals("there", text(client, at("elsewhere")));
    }

    @Test
    void aClientMayBeSeveralUsers() throws Exception {
        CuratorFramework owner = owner();
        CuratorFramework guest = guest();
        CuratorFramework both =
                client(
                        builder ->
                                builder.authorization(
                                        List.of(
                                                new AuthInfo("digest", bytes(Passwords.OWNER)),
                                                new AuthInfo("digest", bytes(Passwords.GUEST)))));

        owner.create().withACL(Ids.CREATOR_ALL_ACL).forPath(at("owners"), bytes("o"));
        guest.create().withACL(Ids.CREATOR_ALL_ACL).forPath(at("guests"), bytes("g"));
        both.create().withACL(Ids.CREATOR_ALL_ACL).forPath(at("shared"), bytes("s"));

        assertEquals("o", text(both, at("owners")));
        assertEquals("g", text(both, at("guests")));
        assertEquals("s", text(owner, at("shared")));
        assertEquals("s", text(guest, at("shared")));
    }

    @Test
    void anAclProviderChoosesForParentsToo() throws Exception {
        ACLProvider provider =
                new ACLProvider() {
                    @Override
                    public List<ACL> getDefaultAcl() {
                        return Ids.CREATOR_ALL_ACL;
                    }

                    @Override
                    public List<ACL> getAclForPath(String path) {
                        return path.endsWith("/open") ? Ids.OPEN_ACL_UNSAFE : getDefaultAcl();
                    }
                };
        CuratorFramework owner =
                client(
                        builder ->
                                builder.authorization("digest", bytes(Passwords.OWNER))
                                        .aclProvider(provider));
        CuratorFramework nobody = client();

        owner.create().creatingParentsIfNeeded().forPath(at("closed/open/closed"));

        assertNoAuth(() -> nobody.getData().forPath(at("closed")));
        nobody.getData().forPath(at("closed/open"));
        assertNoAuth(() -> nobody.getData().forPath(at("closed/open/closed")));
    }

    @Test
    void parentsGetTheAclOfTheirChildOnRequest() throws Exception {
        CuratorFramework owner = owner();
        CuratorFramework nobody = client();

        owner.create()
                .creatingParentsIfNeeded()
                .withACL(Ids.CREATOR_ALL_ACL, true)
                .forPath(at("p/q/r"));
        owner.create().creatingParentsIfNeeded().withACL(Ids.CREATOR_ALL_ACL).forPath(at("s/t"));

        assertNoAuth(() -> nobody.getChildren().forPath(at("p/q")));
        assertEquals(List.of("t"), nobody.getChildren().forPath(at("s")));
        assertNoAuth(() -> nobody.getData().forPath(at("s/t")));
    }

    @Test
    void aTransactionNeedsEveryPermission() throws Exception {
        CuratorFramework owner = owner();
        CuratorFramework nobody = client();
        owner.create().withACL(Ids.CREATOR_ALL_ACL).forPath(at("owned"), bytes("0"));

        assertNoAuth(
                () ->
                        nobody.transaction()
                                .forOperations(
                                        nobody.transactionOp().create().forPath(at("own")),
                                        nobody.transactionOp()
                                                .setData()
                                                .forPath(at("owned"), bytes("1"))));

        assertEquals(List.of("owned"), nobody.getChildren().forPath(root));
        owner.transaction()
                .forOperations(
                        owner.transactionOp()
                                .create()
                                .withACL(Ids.CREATOR_ALL_ACL)
                                .forPath(at("own"), bytes("x")),
                        owner.transactionOp().setData().forPath(at("owned"), bytes("1")));
        assertNoAuth(() -> nobody.getData().forPath(at("own")));
        assertEquals("1", text(owner, at("owned")));
    }

    @Test
    void aReconnectedClientIsStillItself() throws Exception {
        Link link = closing(new Link());
        CuratorFramework owner =
                roughClient(
                        builder ->
                                builder.connectString(link.connectString())
                                        .ensembleTracker(false)
                                        .authorization("digest", bytes(Passwords.OWNER)));
        owner.create().withACL(Ids.CREATOR_ALL_ACL).forPath(at("a"), bytes("mine"));

        Log<ConnectionState> states = statesOf(owner);
        link.dropConnections();
        states.until(ConnectionState.RECONNECTED);

        assertEquals("mine", text(owner, at("a")));
    }

    @Test
    void existsTellsNothingWithoutTheRightToRead() throws Exception {
        CuratorFramework owner = owner();
        CuratorFramework nobody = client();
        owner.create().withACL(Ids.READ_ACL_UNSAFE).forPath(at("readable"));
        owner.create().withACL(Ids.CREATOR_ALL_ACL).forPath(at("secret"));

        assertNotNull(nobody.checkExists().forPath(at("readable")));
        assertNoAuth(() -> nobody.checkExists().forPath(at("secret")));
        assertTrue(nobody.getChildren().forPath(root).contains("secret"), "its parent is open");
        assertFalse(owner.getACL().forPath(at("secret")).isEmpty());
    }

    private CuratorFramework owner() throws Exception {
        return client(builder -> builder.authorization("digest", bytes(Passwords.OWNER)));
    }

    private CuratorFramework guest() throws Exception {
        return client(builder -> builder.authorization("digest", bytes(Passwords.GUEST)));
    }

    /** Makes a node of the owner, with a child, on which the guest has just these permissions. */
    private void grant(CuratorFramework owner, String name, int perms) throws Exception {
        String guest = DigestAuthenticationProvider.generateDigest(Passwords.GUEST);
        owner.create().forPath(at(name), bytes("0"));
        owner.create().forPath(at(name + "/child"));
        owner.setACL()
                .withACL(
                        List.of(
                                new ACL(Perms.ALL, Ids.AUTH_IDS),
                                new ACL(perms, new Id("digest", guest))))
                .forPath(at(name));
    }

    private void assertInvalid(CuratorFramework client, List<ACL> acl) {
        assertThrows(
                KeeperException.InvalidACLException.class,
                () -> client.create().withACL(acl).forPath(at("a")));
    }

    private static void assertNoAuth(Executable request) {
        assertThrows(KeeperException.NoAuthException.class, request);
    }
}
