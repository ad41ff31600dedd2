import static org.apache.zookeeper.KeeperException.Code.BADVERSION;
import static org.apache.zookeeper.KeeperException.Code.CONNECTIONLOSS;
import static org.apache.zookeeper.KeeperException.Code.NOCHILDRENFOREPHEMERALS;
import static org.apache.zookeeper.KeeperException.Code.NODEEXISTS;
import static org.apache.zookeeper.KeeperException.Code.NONODE;
import static org.apache.zookeeper.KeeperException.Code.NOTEMPTY;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** Requests of Apache's Java client: data, errors, node kinds, multi, the asynchronous API. */
final class RequestTests {
    private final Suite suite;
    private final String connect;
    private Client client;
    private ZooKeeper zk;

    RequestTests(Suite suite, String connect) throws Exception {
        this.suite = suite;
        this.connect = connect;
    }

    void run() throws Exception {
        client = new Client(connect);
        zk = client.zk;
        client.create("/requests", "");
        suite.test("create, get, set, delete", this::data);
        suite.test("stat fields", this::stat);
        suite.test("errors of writes and reads", this::errors);
        suite.test("null and empty data", this::nullData);
        suite.test("names in any script", this::names);
        suite.test("sequence numbers", this::sequences);
        suite.test("children, with and without stat, counted", this::children);
        suite.test("ephemeral nodes end with their session", this::ephemerals);
        suite.test("getEphemerals", this::listEphemerals);
        suite.test("containers vanish when empty", this::containers);
        suite.test("TTL nodes vanish", this::ttl);
        suite.test("multi succeeds", this::multi);
        suite.test("multi fails as a whole", this::multiFails);
        suite.test("transaction builder", this::transaction);
        suite.test("multi of reads", this::multiRead);
        suite.test("every asynchronous call", this::asynchronous);
        suite.test("asynchronous errors", this::asynchronousErrors);
        suite.test("2,000 pipelined writes answered in order", this::pipeline);
        suite.test("sync", this::sync);
        suite.test("1 MB less 1 KB of data", this::large);
        suite.test("too large a request costs the connection, not the session", this::tooLarge);
        suite.test("config node", this::config);
        client.close();
    }

    private void data() throws Exception {
        Stat created = new Stat();
        Suite.equal("/requests/data", zk.create("/requests/data", Client.bytes("one"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, created));
        Stat read = new Stat();
        Suite.equal(Client.bytes("one"), zk.getData("/requests/data", false, read));
        Suite.equal(created, read);
        Stat set = zk.setData("/requests/data", Client.bytes("two"), 0);
        Suite.equal(1, set.getVersion());
        Suite.equal(2, zk.setData("/requests/data", Client.bytes("three"), -1).getVersion());
        Suite.equal("three", client.get("/requests/data"));
        zk.delete("/requests/data", 2);
        Suite.equal(null, zk.exists("/requests/data", false));
    }

    private void stat() throws Exception {
        client.create("/requests/stat", "12345");
        Stat stat = zk.exists("/requests/stat", false);
        Suite.check(stat.getCzxid() > 0 && stat.getCzxid() == stat.getMzxid() && stat.getCzxid() == stat.getPzxid(), "zxids of a new node " + stat);
        Suite.check(stat.getCtime() == stat.getMtime() && Math.abs(System.currentTimeMillis() - stat.getCtime()) < 60_000, "times " + stat);
        Suite.equal(5, stat.getDataLength());
        client.create("/requests/stat/a", "");
        client.create("/requests/stat/b", "");
        zk.delete("/requests/stat/a", -1);
        Stat after = zk.exists("/requests/stat", false);
        Suite.equal(3, after.getCversion());
        Suite.equal(1, after.getNumChildren());
        Suite.equal(0, after.getVersion());
        Suite.check(after.getPzxid() > zk.exists("/requests/stat/b", false).getCzxid(), "a delete moves pzxid");
        Suite.equal(stat.getMzxid(), after.getMzxid());
    }

    private void errors() throws Exception {
        client.create("/requests/errors", "");
        Suite.fails(NODEEXISTS, () -> client.create("/requests/errors", ""));
        Suite.fails(NONODE, () -> client.create("/requests/absent/child", ""));
        Suite.fails(NONODE, () -> zk.getData("/requests/absent", false, null));
        Suite.fails(NONODE, () -> zk.setData("/requests/absent", null, -1));
        Suite.fails(NONODE, () -> zk.delete("/requests/absent", -1));
        Suite.fails(NONODE, () -> zk.getChildren("/requests/absent", false));
        Suite.fails(NONODE, () -> zk.getACL("/requests/absent", null));
        Suite.fails(NONODE, () -> zk.getAllChildrenNumber("/requests/absent"));
        Suite.fails(BADVERSION, () -> zk.setData("/requests/errors", null, 5));
        Suite.fails(BADVERSION, () -> zk.delete("/requests/errors", 5));
        client.create("/requests/errors/child", "");
        Suite.fails(NOTEMPTY, () -> zk.delete("/requests/errors", -1));
        client.create("/requests/errors/ephemeral", "", CreateMode.EPHEMERAL);
        Suite.fails(NOCHILDRENFOREPHEMERALS, () -> client.create("/requests/errors/ephemeral/child", ""));
        Suite.fails(KeeperException.Code.BADARGUMENTS, () -> zk.delete("/zookeeper", -1));
    }

    private void nullData() throws Exception {
        zk.create("/requests/null", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        Suite.equal(null, zk.getData("/requests/null", false, null));
        Suite.equal(0, zk.exists("/requests/null", false).getDataLength());
        zk.setData("/requests/null", new byte[0], -1);
        Suite.equal(new byte[0], zk.getData("/requests/null", false, null));
        zk.setData("/requests/null", null, -1);
        Suite.equal(null, zk.getData("/requests/null", false, null));
    }

    private void names() throws Exception {
        for (String name : List.of("grüße", "日本語", "русский", "a b", "a%20b", "…", ".hidden", "x".repeat(500))) {
            Suite.equal("/requests/" + name, client.create("/requests/" + name, name));
            Suite.equal(name, client.get("/requests/" + name));
            Suite.check(zk.getChildren("/requests", false).contains(name), name);
        }
    }

    private void sequences() throws Exception {
        client.create("/requests/seq", "");
        Suite.equal("/requests/seq/n-0000000000", client.create("/requests/seq/n-", "", CreateMode.PERSISTENT_SEQUENTIAL));
        client.create("/requests/seq/plain", "");
        Suite.equal("/requests/seq/n-0000000002", client.create("/requests/seq/n-", "", CreateMode.EPHEMERAL_SEQUENTIAL));
        zk.delete("/requests/seq/n-0000000002", -1);
        Suite.equal("/requests/seq/0000000003", client.create("/requests/seq/", "", CreateMode.PERSISTENT_SEQUENTIAL));
    }

    private void children() throws Exception {
        client.create("/requests/children", "");
        List<String> expected = new ArrayList<>();
        for (int each = 0; each < 500; each++) {
            expected.add(String.format("child-%04d", each));
            client.create("/requests/children/" + expected.get(each), "");
        }
        client.create("/requests/children/child-0000/deep", "");
        Stat stat = new Stat();
        List<String> found = zk.getChildren("/requests/children", false, stat);
        Collections.sort(found);
        Suite.equal(expected, found);
        Suite.equal(500, stat.getNumChildren());
        found = zk.getChildren("/requests/children", false);
        Collections.sort(found);
        Suite.equal(expected, found);
        Suite.equal(501, zk.getAllChildrenNumber("/requests/children"));
    }

    private void ephemerals() throws Exception {
        client.create("/requests/owner", "");
        Client other = new Client(connect);
        other.create("/requests/owner/a", "", CreateMode.EPHEMERAL);
        other.create("/requests/owner/b-", "", CreateMode.EPHEMERAL_SEQUENTIAL);
        Suite.equal(other.zk.getSessionId(), zk.exists("/requests/owner/a", false).getEphemeralOwner());
        Suite.equal(2, zk.getChildren("/requests/owner", false).size());
        other.close();
        Suite.until("the ephemerals are gone", () -> zk.getChildren("/requests/owner", false).isEmpty());
        Suite.equal(4, zk.exists("/requests/owner", false).getCversion());
    }

    private void listEphemerals() throws Exception {
        try (Client other = new Client(connect)) {
            client.create("/requests/list", "");
            for (String name : List.of("a1", "a2", "b")) {
                other.create("/requests/list/" + name, "", CreateMode.EPHEMERAL);
            }
            List<String> all = other.zk.getEphemerals();
            Collections.sort(all);
            Suite.equal(List.of("/requests/list/a1", "/requests/list/a2", "/requests/list/b"), all);
            List<String> some = other.zk.getEphemerals("/requests/list/a");
            Collections.sort(some);
            Suite.equal(List.of("/requests/list/a1", "/requests/list/a2"), some);
            Suite.equal(List.of(), other.zk.getEphemerals("/other"));
        }
    }

    private void containers() throws Exception {
        client.create("/requests/container", "", CreateMode.CONTAINER);
        client.create("/requests/container/child", "");
        Suite.equal(0L, zk.exists("/requests/container", false).getEphemeralOwner());
        zk.delete("/requests/container/child", -1);
        Suite.until("the container is gone", () -> zk.exists("/requests/container", false) == null);
    }

    private void ttl() throws Exception {
        Stat stat = new Stat();
        zk.create("/requests/ttl", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, stat, 300);
        Suite.equal(0L, stat.getEphemeralOwner());
        String sequential = zk.create("/requests/ttl-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, new Stat(), 400);
        Suite.until("both are gone", () -> zk.exists("/requests/ttl", false) == null && zk.exists(sequential, false) == null);
    }

    private void multi() throws Exception {
        client.create("/requests/multi", "");
        client.create("/requests/multi/old", "");
        List<OpResult> results = zk.multi(List.of(
            Op.check("/requests/multi", 0),
            Op.create("/requests/multi/a", Client.bytes("a"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.create("/requests/multi/a/n-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL),
            Op.setData("/requests/multi/a", Client.bytes("b"), 0),
            Op.create("/requests/multi/c", null, Ids.OPEN_ACL_UNSAFE, CreateMode.CONTAINER),
            Op.delete("/requests/multi/old", -1)));
        Suite.equal(6, results.size());
        Suite.equal("/requests/multi/a", ((OpResult.CreateResult) results.get(1)).getPath());
        Suite.equal("/requests/multi/a/n-0000000000", ((OpResult.CreateResult) results.get(2)).getPath());
        Suite.equal(1, ((OpResult.SetDataResult) results.get(3)).getStat().getVersion());
        Stat stat = zk.exists("/requests/multi/a", false);
        Suite.equal(stat, new Stat(stat.getCzxid(), stat.getCzxid(), stat.getCtime(), stat.getCtime(), 1, 1, 0, 0, 1, 1, stat.getCzxid()));
        Suite.equal(null, zk.exists("/requests/multi/old", false));
        Suite.equal(List.of(), zk.multi(List.of()));
    }

    private void multiFails() throws Exception {
        client.create("/requests/multi-fails", "");
        try {
            zk.multi(List.of(
                Op.create("/requests/multi-fails/a", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                Op.setData("/requests/multi-fails", null, -1),
                Op.check("/requests/multi-fails", 9),
                Op.delete("/requests/multi-fails", -1)));
            Suite.check(false, "it succeeded");
        } catch (KeeperException error) {
            Suite.equal(BADVERSION, error.code());
            List<Integer> codes = new ArrayList<>();
            error.getResults().forEach(each -> codes.add(((OpResult.ErrorResult) each).getErr()));
            Suite.equal(List.of(0, 0, BADVERSION.intValue(), KeeperException.Code.RUNTIMEINCONSISTENCY.intValue()), codes);
        }
        Suite.equal(null, zk.exists("/requests/multi-fails/a", false));
        Suite.equal(0, zk.exists("/requests/multi-fails", false).getVersion());
        Suite.equal(0, zk.exists("/requests/multi-fails", false).getCversion());
    }

    private void transaction() throws Exception {
        zk.transaction().create("/requests/transaction", Client.bytes("x"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT)
            .check("/requests/transaction", 0).setData("/requests/transaction", Client.bytes("y"), 0).commit();
        Suite.equal("y", client.get("/requests/transaction"));
    }

    private void multiRead() throws Exception {
        client.create("/requests/reads", "data");
        client.create("/requests/reads/child", "");
        List<OpResult> results = zk.multi(List.of(Op.getData("/requests/reads"), Op.getChildren("/requests/reads"), Op.getData("/requests/absent")));
        Suite.equal(Client.bytes("data"), ((OpResult.GetDataResult) results.get(0)).getData());
        Suite.equal(List.of("child"), ((OpResult.GetChildrenResult) results.get(1)).getChildren());
        Suite.equal(NONODE.intValue(), ((OpResult.ErrorResult) results.get(2)).getErr());
    }

    private static <T> T take(CompletableFuture<T> future) throws Exception {
        return future.get(Suite.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    private void asynchronous() throws Exception {
        String path = "/requests/async";
        CompletableFuture<String> created = new CompletableFuture<>();
        zk.create(path, Client.bytes("1"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT,
            (AsyncCallback.Create2Callback) (code, at, context, name, stat) -> created.complete(code + name + stat.getVersion()), null);
        Suite.equal("0" + path + "0", take(created));
        CompletableFuture<String> get = new CompletableFuture<>();
        zk.getData(path, false, (code, at, context, bytes, stat) -> get.complete(new String(bytes) + context), 7);
        Suite.equal("17", take(get));
        CompletableFuture<Integer> set = new CompletableFuture<>();
        zk.setData(path, Client.bytes("2"), 0, (code, at, context, stat) -> set.complete(stat.getVersion()), null);
        Suite.equal(1, take(set));
        CompletableFuture<Integer> exists = new CompletableFuture<>();
        zk.exists(path, false, (code, at, context, stat) -> exists.complete(stat.getVersion()), null);
        Suite.equal(1, take(exists));
        CompletableFuture<List<String>> children = new CompletableFuture<>();
        zk.getChildren("/requests/async", false, (AsyncCallback.ChildrenCallback) (code, at, context, names) -> children.complete(names), null);
        Suite.equal(List.of(), take(children));
        CompletableFuture<Integer> children2 = new CompletableFuture<>();
        zk.getChildren(path, false, (AsyncCallback.Children2Callback) (code, at, context, names, stat) -> children2.complete(stat.getVersion()), null);
        Suite.equal(1, take(children2));
        CompletableFuture<Object> acl = new CompletableFuture<>();
        zk.getACL(path, new Stat(), (code, at, context, list, stat) -> acl.complete(list), null);
        Suite.equal(Ids.OPEN_ACL_UNSAFE, take(acl));
        CompletableFuture<Integer> setAcl = new CompletableFuture<>();
        zk.setACL(path, Ids.OPEN_ACL_UNSAFE, 0, (code, at, context, stat) -> setAcl.complete(stat.getAversion()), null);
        Suite.equal(1, take(setAcl));
        CompletableFuture<Integer> count = new CompletableFuture<>();
        zk.getAllChildrenNumber(path, (code, at, context, number) -> count.complete(number), null);
        Suite.equal(0, take(count));
        CompletableFuture<List<String>> ephemerals = new CompletableFuture<>();
        zk.getEphemerals("/absent", (code, context, paths) -> ephemerals.complete(paths), null);
        Suite.equal(List.of(), take(ephemerals));
        CompletableFuture<Integer> multi = new CompletableFuture<>();
        zk.multi(List.of(Op.check(path, 1)), (code, at, context, results) -> multi.complete(results.size()), null);
        Suite.equal(1, take(multi));
        CompletableFuture<Integer> deleted = new CompletableFuture<>();
        zk.delete(path, -1, (code, at, context) -> deleted.complete(code), null);
        Suite.equal(0, take(deleted));
    }

    private void asynchronousErrors() throws Exception {
        CompletableFuture<Integer> get = new CompletableFuture<>();
        zk.getData("/requests/absent", false, (code, at, context, bytes, stat) -> get.complete(code), null);
        CompletableFuture<Integer> create = new CompletableFuture<>();
        zk.create("/requests", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, (code, at, context, name) -> create.complete(code), null);
        CompletableFuture<Integer> delete = new CompletableFuture<>();
        zk.delete("/requests", 99, (code, at, context) -> delete.complete(code), null);
        Suite.equal(NONODE.intValue(), take(get));
        Suite.equal(NODEEXISTS.intValue(), take(create));
        Suite.equal(BADVERSION.intValue(), take(delete));
    }

    private void pipeline() throws Exception {
        client.create("/requests/pipeline", "");
        List<Integer> seen = Collections.synchronizedList(new ArrayList<>());
        CompletableFuture<Void> last = new CompletableFuture<>();
        int count = 2000;
        for (int each = 0; each < count; each++) {
            int number = each;
            zk.setData("/requests/pipeline", Client.bytes("" + each), -1, (code, at, context, stat) -> {
                if (code == 0) {
                    seen.add(stat.getVersion() - 1);
                }
            }, null);
            zk.getData("/requests/pipeline", false, (code, at, context, bytes, stat) -> {
                if (!new String(bytes).equals("" + number)) {
                    seen.add(-1);
                }
                if (number == count - 1) {
                    last.complete(null);
                }
            }, null);
        }
        take(last);
        for (int each = 0; each < count; each++) {
            Suite.equal(each, seen.get(each));
        }
        Suite.equal(count, seen.size());
    }

    private void sync() throws Exception {
        CompletableFuture<String> synced = new CompletableFuture<>();
        zk.sync("/requests", (code, at, context) -> synced.complete(code + at), null);
        Suite.equal("0/requests", take(synced));
    }

    private void large() throws Exception {
        byte[] data = new byte[1024 * 1024 - 1024];
        for (int each = 0; each < data.length; each++) {
            data[each] = (byte) (each * 31);
        }
        zk.create("/requests/large", data, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        Suite.equal(data, zk.getData("/requests/large", false, null));
    }

    private void tooLarge() throws Exception {
        try (Client other = new Client(connect)) {
            long id = other.zk.getSessionId();
            Suite.fails(CONNECTIONLOSS, () -> other.zk.create("/requests/too-large", new byte[1100 * 1024], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
            // The handle calls itself connected until it has told every request in its queue that it is not.
            other.session.await(KeeperState.Disconnected);
            other.session.await(KeeperState.SyncConnected);
            Suite.equal(null, other.zk.exists("/requests/too-large", false));
            Suite.equal(id, other.zk.getSessionId());
        }
    }

    private void config() throws Exception {
        Stat stat = new Stat();
        byte[] config = zk.getConfig(false, stat);
        Suite.check(config == null || config.length == 0 || new String(config).contains("version="), "config " + (config == null ? null : new String(config)));
        List<String> children = zk.getChildren("/zookeeper", false);
        Collections.sort(children);
        Suite.equal(List.of("config", "quota"), children);
    }
}
