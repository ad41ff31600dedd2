import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.ZooKeeper;

/** Watches: one-shot, persistent, recursive, removed, and carried over a lost connection. */
final class WatchTests {
    private final Suite suite;
    private final String connect;
    private Client client;
    private Client writer;
    private ZooKeeper zk;

    WatchTests(Suite suite, String connect) {
        this.suite = suite;
        this.connect = connect;
    }

    void run() throws Exception {
        client = new Client(connect);
        zk = client.zk;
        writer = new Client(connect);
        writer.create("/watches", "");
        suite.test("watch: data changed, once", this::dataChanged);
        suite.test("watch: created and deleted", this::createdAndDeleted);
        suite.test("watch: children", this::children);
        suite.test("watch: the default watcher", this::defaultWatcher);
        suite.test("watch: events of a multi", this::multi);
        suite.test("watch: an event comes before the reply that shows the change", this::eventBeforeReply);
        suite.test("watch: persistent", this::persistent);
        suite.test("watch: persistent and recursive", this::recursive);
        suite.test("watch: removed", this::removed);
        suite.test("watch: changes missed while away are told", this::missed);
        suite.test("watch: persistent ones survive a reconnect", this::persistentReconnect);
        suite.test("watch: thousands are carried over a reconnect", this::manyReconnect);
        suite.test("watch: 200 clients watch one node", this::fanOut);
        client.close();
        writer.close();
    }

    private void dataChanged() throws Exception {
        writer.create("/watches/data", "");
        Client.Recorder recorder = new Client.Recorder();
        zk.getData("/watches/data", recorder, null);
        writer.zk.setData("/watches/data", null, -1);
        writer.zk.setData("/watches/data", null, -1);
        Suite.equal("NodeDataChanged /watches/data", recorder.next());
        zk.exists("/watches/data", recorder);
        writer.zk.delete("/watches/data", -1);
        Suite.equal("NodeDeleted /watches/data", recorder.next());
        Suite.equal(List.of(), recorder.rest());
    }

    private void createdAndDeleted() throws Exception {
        Client.Recorder recorder = new Client.Recorder();
        Suite.equal(null, zk.exists("/watches/new", recorder));
        writer.create("/watches/new", "");
        Suite.equal("NodeCreated /watches/new", recorder.next());
        zk.getData("/watches/new", recorder, null);
        zk.getChildren("/watches/new", recorder);
        writer.zk.delete("/watches/new", -1);
        Suite.equal("NodeDeleted /watches/new", recorder.next());
        zk.exists("/watches", false);
        Suite.equal(List.of(), recorder.rest());
    }

    private void children() throws Exception {
        writer.create("/watches/parent", "");
        Client.Recorder recorder = new Client.Recorder();
        zk.getChildren("/watches/parent", recorder);
        writer.zk.setData("/watches/parent", null, -1);
        writer.create("/watches/parent/child", "");
        Suite.equal("NodeChildrenChanged /watches/parent", recorder.next());
        zk.getChildren("/watches/parent", recorder);
        writer.zk.setData("/watches/parent/child", null, -1);
        writer.zk.delete("/watches/parent/child", -1);
        Suite.equal("NodeChildrenChanged /watches/parent", recorder.next());
        Suite.equal(List.of(), recorder.rest());
    }

    private void defaultWatcher() throws Exception {
        writer.create("/watches/default", "");
        zk.getData("/watches/default", true, null);
        writer.zk.setData("/watches/default", null, -1);
        Suite.equal("NodeDataChanged /watches/default", client.session.next());
    }

    private void multi() throws Exception {
        writer.create("/watches/multi", "");
        Client.Recorder recorder = new Client.Recorder();
        zk.getData("/watches/multi", recorder, null);
        zk.getChildren("/watches/multi", recorder);
        zk.exists("/watches/multi/a", recorder);
        writer.zk.multi(List.of(Op.create("/watches/multi/a", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT), Op.setData("/watches/multi", null, -1)));
        Suite.equal("NodeCreated /watches/multi/a", recorder.next());
        Suite.equal("NodeChildrenChanged /watches/multi", recorder.next());
        Suite.equal("NodeDataChanged /watches/multi", recorder.next());
    }

    private void eventBeforeReply() throws Exception {
        writer.create("/watches/order", "0");
        for (int each = 1; each <= 100; each++) {
            Client.Recorder recorder = new Client.Recorder();
            zk.getData("/watches/order", recorder, null);
            writer.zk.setData("/watches/order", Client.bytes("" + each), -1);
            CountDownLatch answered = new CountDownLatch(1);
            String expected = "" + each;
            boolean[] inOrder = {false};
            // Callbacks and events share one thread of the client, in their order on the wire.
            zk.sync("/watches/order", (code, path, context) -> { }, null);
            zk.getData("/watches/order", false, (code, path, context, data, stat) -> {
                inOrder[0] = new String(data).equals(expected) && recorder.rest().size() == 1;
                answered.countDown();
            }, null);
            Suite.check(answered.await(Suite.WAIT_SECONDS, TimeUnit.SECONDS), "an answer");
            Suite.check(inOrder[0], "the event had come before the reply, round " + each);
        }
    }

    private void persistent() throws Exception {
        Client.Recorder recorder = new Client.Recorder();
        zk.addWatch("/watches/persistent", recorder, AddWatchMode.PERSISTENT);
        writer.create("/watches/persistent", "");
        writer.zk.setData("/watches/persistent", null, -1);
        writer.create("/watches/persistent/child", "");
        writer.zk.setData("/watches/persistent/child", null, -1);
        writer.zk.delete("/watches/persistent/child", -1);
        writer.zk.delete("/watches/persistent", -1);
        for (String type : List.of("NodeCreated", "NodeDataChanged", "NodeChildrenChanged", "NodeChildrenChanged", "NodeDeleted")) {
            Suite.equal(type + " /watches/persistent", recorder.next());
        }
        Suite.equal(List.of(), recorder.rest());
    }

    private void recursive() throws Exception {
        Client.Recorder recorder = new Client.Recorder();
        zk.addWatch("/watches/recursive", recorder, AddWatchMode.PERSISTENT_RECURSIVE);
        writer.create("/watches/recursive", "");
        writer.create("/watches/recursive/a", "");
        writer.create("/watches/recursive/a/b", "");
        writer.zk.setData("/watches/recursive/a/b", null, -1);
        writer.zk.delete("/watches/recursive/a/b", -1);
        writer.create("/watches/recursive-not", "");
        writer.zk.delete("/watches/recursive/a", -1);
        for (String event : List.of("NodeCreated /watches/recursive", "NodeCreated /watches/recursive/a", "NodeCreated /watches/recursive/a/b",
            "NodeDataChanged /watches/recursive/a/b", "NodeDeleted /watches/recursive/a/b", "NodeDeleted /watches/recursive/a")) {
            Suite.equal(event, recorder.next());
        }
        Suite.equal(List.of(), recorder.rest());
    }

    private void removed() throws Exception {
        writer.create("/watches/removed", "");
        Client.Recorder gone = new Client.Recorder();
        Client.Recorder stays = new Client.Recorder();
        zk.getData("/watches/removed", gone, null);
        zk.getChildren("/watches/removed", stays);
        zk.removeWatches("/watches/removed", gone, WatcherType.Data, false);
        Suite.equal("DataWatchRemoved /watches/removed", gone.next());
        Suite.fails(KeeperException.Code.NOWATCHER, () -> zk.removeWatches("/watches/removed", gone, WatcherType.Data, false));
        writer.zk.setData("/watches/removed", null, -1);
        writer.create("/watches/removed/child", "");
        Suite.equal("NodeChildrenChanged /watches/removed", stays.next());
        zk.addWatch("/watches/removed", gone, AddWatchMode.PERSISTENT_RECURSIVE);
        zk.removeAllWatches("/watches/removed", WatcherType.Any, false);
        Suite.equal("PersistentWatchRemoved /watches/removed", gone.next());
        writer.zk.setData("/watches/removed", null, -1);
        zk.exists("/watches/removed", false);
        Suite.equal(List.of(), gone.rest());
    }

    private void missed() throws Exception {
        writer.create("/watches/missed", "");
        for (String name : List.of("data", "gone", "kept", "parent")) {
            writer.create("/watches/missed/" + name, "");
        }
        try (Proxy proxy = new Proxy(connect); Client away = new Client(proxy.connect())) {
            Client.Recorder data = new Client.Recorder();
            Client.Recorder gone = new Client.Recorder();
            Client.Recorder kept = new Client.Recorder();
            Client.Recorder created = new Client.Recorder();
            Client.Recorder parent = new Client.Recorder();
            away.zk.getData("/watches/missed/data", data, null);
            away.zk.getData("/watches/missed/gone", gone, null);
            away.zk.getData("/watches/missed/kept", kept, null);
            away.zk.exists("/watches/missed/created", created);
            away.zk.getChildren("/watches/missed/parent", parent);
            proxy.cut();
            away.session.await(KeeperState.Disconnected);
            writer.zk.setData("/watches/missed/data", null, -1);
            writer.zk.delete("/watches/missed/gone", -1);
            writer.create("/watches/missed/created", "");
            writer.create("/watches/missed/parent/child", "");
            proxy.heal();
            Suite.equal("NodeDataChanged /watches/missed/data", data.next());
            Suite.equal("NodeDeleted /watches/missed/gone", gone.next());
            Suite.equal("NodeCreated /watches/missed/created", created.next());
            Suite.equal("NodeChildrenChanged /watches/missed/parent", parent.next());
            writer.zk.setData("/watches/missed/kept", null, -1);
            Suite.equal("NodeDataChanged /watches/missed/kept", kept.next());
        }
    }

    private void persistentReconnect() throws Exception {
        writer.create("/watches/carried", "");
        try (Proxy proxy = new Proxy(connect); Client away = new Client(proxy.connect())) {
            Client.Recorder one = new Client.Recorder();
            Client.Recorder deep = new Client.Recorder();
            away.zk.addWatch("/watches/carried", one, AddWatchMode.PERSISTENT);
            away.zk.addWatch("/watches", deep, AddWatchMode.PERSISTENT_RECURSIVE);
            proxy.dropAll();
            away.session.await(KeeperState.Disconnected);
            away.session.await(KeeperState.SyncConnected);
            away.zk.exists("/watches", false);
            writer.create("/watches/carried/child", "");
            Suite.equal("NodeChildrenChanged /watches/carried", one.next());
            Suite.equal("NodeCreated /watches/carried/child", deep.next());
        }
    }

    private void manyReconnect() throws Exception {
        int count = 5000;
        String longName = "/watches/many-" + "x".repeat(80) + "-";
        try (Proxy proxy = new Proxy(connect); Client away = new Client(proxy.connect())) {
            Client.Recorder recorder = new Client.Recorder();
            CountDownLatch set = new CountDownLatch(count);
            for (int each = 0; each < count; each++) {
                away.zk.exists(longName + each, recorder, (code, path, context, stat) -> set.countDown(), null);
            }
            Suite.check(set.await(Suite.WAIT_SECONDS, TimeUnit.SECONDS), "all watches are set");
            proxy.dropAll();
            away.session.await(KeeperState.Disconnected);
            away.session.await(KeeperState.SyncConnected);
            away.zk.exists("/watches", false);
            for (int each : new int[] {0, 1234, count - 1}) {
                writer.create(longName + each, "");
                Suite.equal("NodeCreated " + longName + each, recorder.next());
            }
        }
    }

    private void fanOut() throws Exception {
        writer.create("/watches/fan-out", "");
        int count = 200;
        Client[] clients = new Client[count];
        CountDownLatch events = new CountDownLatch(count);
        for (int each = 0; each < count; each++) {
            clients[each] = new Client(connect);
            clients[each].zk.getData("/watches/fan-out", (Watcher) event -> {
                if (event.getType() == Watcher.Event.EventType.NodeDataChanged) {
                    events.countDown();
                }
            }, null);
        }
        writer.zk.setData("/watches/fan-out", null, -1);
        Suite.check(events.await(Suite.WAIT_SECONDS, TimeUnit.SECONDS), "every client saw the change, missing " + events.getCount());
        Client.closeAll(Arrays.asList(clients));
    }
}
