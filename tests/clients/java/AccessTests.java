import static org.apache.zookeeper.KeeperException.Code.BADVERSION;
import static org.apache.zookeeper.KeeperException.Code.INVALIDACL;
import static org.apache.zookeeper.KeeperException.Code.NOAUTH;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.auth.DigestAuthenticationProvider;

/** ACLs and authentication. */
final class AccessTests {
    private final Suite suite;
    private final String connect;
    private Client client;
    private ZooKeeper zk;

    AccessTests(Suite suite, String connect) {
        this.suite = suite;
        this.connect = connect;
    }

    void run() throws Exception {
        client = new Client(connect);
        zk = client.zk;
        client.create("/access", "");
        suite.test("ACL: set and get, with versions", this::setAndGet);
        suite.test("ACL: digest identities", this::digest);
        suite.test("ACL: creator only", this::creator);
        suite.test("ACL: world may only read", this::readOnly);
        suite.test("ACL: address", this::address);
        suite.test("ACL: single permissions", this::permissions);
        suite.test("ACL: invalid lists", this::invalid);
        suite.test("ACL: inside a multi", this::multi);
        suite.test("auth: survives a reconnect", this::reconnect);
        suite.test("auth: the super user passes", this::superUser);
        suite.test("auth: unknown scheme", this::unknownScheme);
        suite.test("auth: whoAmI", this::whoAmI);
        client.close();
    }

    private static ACL acl(int permissions, String scheme, String id) {
        return new ACL(permissions, new Id(scheme, id));
    }

    // The client looks for null in the list, which List.of answers by an exception.
    private static List<ACL> list(ACL... entries) {
        return Arrays.asList(entries);
    }

    private void setAndGet() throws Exception {
        client.create("/access/set", "");
        List<ACL> both = list(acl(Perms.READ | Perms.ADMIN, "world", "anyone"), acl(Perms.ALL, "digest", "a:b"));
        Suite.equal(1, zk.setACL("/access/set", both, 0).getAversion());
        Stat stat = new Stat();
        Suite.equal(both, zk.getACL("/access/set", stat));
        Suite.equal(1, stat.getAversion());
        Suite.equal(0, stat.getVersion());
        Suite.fails(BADVERSION, () -> zk.setACL("/access/set", both, 0));
    }

    private void digest() throws Exception {
        String id = DigestAuthenticationProvider.generateDigest("user:secret");
        zk.create("/access/digest", Client.bytes("x"), list(acl(Perms.ALL, "digest", id)), CreateMode.PERSISTENT);
        Suite.fails(NOAUTH, () -> zk.getData("/access/digest", false, null));
        Suite.fails(NOAUTH, () -> zk.setData("/access/digest", null, -1));
        Suite.fails(NOAUTH, () -> zk.getChildren("/access/digest", false));
        Suite.fails(NOAUTH, () -> zk.create("/access/digest/child", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        Suite.fails(NOAUTH, () -> zk.exists("/access/digest", false));
        try (Client other = new Client(connect)) {
            other.zk.addAuthInfo("digest", Client.bytes("user:wrong"));
            Suite.fails(NOAUTH, () -> other.zk.getData("/access/digest", false, null));
            other.zk.addAuthInfo("digest", Client.bytes("user:secret"));
            Suite.equal("x", other.get("/access/digest"));
            other.create("/access/digest/child", "");
        }
    }

    private void creator() throws Exception {
        try (Client owner = new Client(connect)) {
            owner.zk.addAuthInfo("digest", Client.bytes("owner:secret"));
            owner.zk.create("/access/creator", null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
            Suite.equal(List.of(acl(Perms.ALL, "digest", DigestAuthenticationProvider.generateDigest("owner:secret"))),
                owner.zk.getACL("/access/creator", null));
            owner.zk.setData("/access/creator", null, -1);
        }
        Suite.fails(NOAUTH, () -> zk.setData("/access/creator", null, -1));
    }

    private void readOnly() throws Exception {
        zk.create("/access/read", Client.bytes("x"), Ids.READ_ACL_UNSAFE, CreateMode.PERSISTENT);
        Suite.equal("x", client.get("/access/read"));
        Suite.fails(NOAUTH, () -> zk.setData("/access/read", null, -1));
        Suite.fails(NOAUTH, () -> zk.setACL("/access/read", Ids.OPEN_ACL_UNSAFE, -1));
    }

    private void address() throws Exception {
        zk.create("/access/here", null, list(acl(Perms.ALL, "ip", "127.0.0.1")), CreateMode.PERSISTENT);
        zk.setData("/access/here", null, -1);
        zk.create("/access/near", null, list(acl(Perms.ALL, "ip", "127.0.0.0/8")), CreateMode.PERSISTENT);
        zk.setData("/access/near", null, -1);
        zk.create("/access/far", null, list(acl(Perms.ALL, "ip", "10.0.0.0/8")), CreateMode.PERSISTENT);
        Suite.fails(NOAUTH, () -> zk.setData("/access/far", null, -1));
    }

    private void permissions() throws Exception {
        zk.create("/access/no-create", null, list(acl(Perms.ALL & ~Perms.CREATE, "world", "anyone")), CreateMode.PERSISTENT);
        Suite.fails(NOAUTH, () -> client.create("/access/no-create/a", ""));
        zk.create("/access/no-delete", null, list(acl(Perms.ALL & ~Perms.DELETE, "world", "anyone")), CreateMode.PERSISTENT);
        client.create("/access/no-delete/a", "");
        Suite.fails(NOAUTH, () -> zk.delete("/access/no-delete/a", -1));
        zk.create("/access/only-admin", null, list(acl(Perms.ADMIN, "world", "anyone")), CreateMode.PERSISTENT);
        Suite.fails(NOAUTH, () -> zk.getData("/access/only-admin", false, null));
        Suite.equal(List.of(acl(Perms.ADMIN, "world", "anyone")), zk.getACL("/access/only-admin", null));
    }

    private void invalid() throws Exception {
        for (ACL entry : List.of(acl(Perms.ALL, "unknown", "x"), acl(Perms.ALL, "digest", "no-colon"), acl(Perms.ALL, "ip", "not-an-address"),
            acl(Perms.ALL, "world", "someone"), acl(Perms.ALL, "auth", ""))) {
            Suite.fails(INVALIDACL, () -> zk.create("/access/invalid", null, list(entry), CreateMode.PERSISTENT));
        }
        Suite.equal(null, zk.exists("/access/invalid", false));
    }

    private void multi() throws Exception {
        zk.create("/access/multi", null, Ids.READ_ACL_UNSAFE, CreateMode.PERSISTENT);
        Suite.fails(NOAUTH, () -> zk.multi(List.of(Op.create("/access/multi-new", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.setData("/access/multi", null, -1))));
        Suite.equal(null, zk.exists("/access/multi-new", false));
    }

    private void reconnect() throws Exception {
        try (Proxy proxy = new Proxy(connect); Client owner = new Client(proxy.connect())) {
            owner.zk.addAuthInfo("digest", Client.bytes("again:secret"));
            owner.zk.create("/access/again", null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
            proxy.dropAll();
            owner.session.await(KeeperState.Disconnected);
            owner.session.await(KeeperState.SyncConnected);
            owner.zk.setData("/access/again", null, -1);
        }
    }

    private void superUser() throws Exception {
        zk.create("/access/closed", null, list(acl(Perms.ALL, "digest", "nobody:x")), CreateMode.PERSISTENT);
        try (Client root = new Client(connect)) {
            root.zk.addAuthInfo("digest", Client.bytes("super:secret"));
            root.zk.setData("/access/closed", Client.bytes("x"), -1);
            root.zk.setACL("/access/closed", Ids.OPEN_ACL_UNSAFE, -1);
        }
        Suite.equal("x", client.get("/access/closed"));
    }

    private void unknownScheme() throws Exception {
        try (Client other = new Client(connect)) {
            other.zk.addAuthInfo("no-such-scheme", Client.bytes("x"));
            other.session.await(KeeperState.AuthFailed);
            Suite.until("the handle is closed", () -> !other.zk.getState().isAlive());
        }
    }

    private void whoAmI() throws Exception {
        try (Client other = new Client(connect)) {
            other.zk.addAuthInfo("digest", Client.bytes("me:secret"));
            Set<String> found = new TreeSet<>();
            for (ClientInfo each : other.zk.whoAmI()) {
                found.add(each.getAuthScheme() + " " + each.getUser());
            }
            Suite.equal(new TreeSet<>(List.of("digest me", "ip 127.0.0.1")), found);
        }
    }
}
