import static org.apache.zookeeper.KeeperException.Code.NODEEXISTS;
import static org.apache.zookeeper.KeeperException.Code.SESSIONEXPIRED;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.FourLetterWordMain;
import org.apache.zookeeper.data.Stat;

/** Sessions: timeouts, resumption, expiry, chroot, and a server that is killed. */
final class SessionTests {
    private final Suite suite;
    private final String connect;
    private Client client;
    private ZooKeeper zk;

    SessionTests(Suite suite, String connect) {
        this.suite = suite;
        this.connect = connect;
    }

    void run() throws Exception {
        client = new Client(connect);
        zk = client.zk;
        client.create("/sessions", "");
        suite.test("session: timeout negotiated", this::timeout);
        suite.test("session: resumed by id and password", this::resumed);
        suite.test("session: taken over while its first connection is open", this::takenOver);
        suite.test("session: a wrong password is told Expired", this::wrongPassword);
        suite.test("session: a closed session cannot be resumed", this::closed);
        suite.test("session: expires and takes its ephemerals along", this::expires);
        suite.test("session: idle, kept by pings", this::idle);
        suite.test("session: survives broken connections under load", this::brokenUnderLoad);
        suite.test("session: chroot", this::chroot);
        suite.test("session: a handle that may be read-only", this::mayBeReadOnly);
        suite.test("session: 500 opened and closed", this::many);
        suite.test("four-letter words", this::fourLetterWords);
        suite.test("kill -9: data, sessions, ephemerals and watches are kept", this::killed);
        suite.test("kill -9 under load: every acknowledged write is kept", this::killedUnderLoad);
        client.close();
    }

    private void timeout() throws Exception {
        // The server runs with tickTime=500: timeouts are clamped to 2 and 20 ticks.
        try (Client eager = new Client(connect, 10); Client lazy = new Client(connect, 1_000_000); Client usual = new Client(connect, 5000)) {
            Suite.equal(1000, eager.zk.getSessionTimeout());
            Suite.equal(10_000, lazy.zk.getSessionTimeout());
            Suite.equal(5000, usual.zk.getSessionTimeout());
        }
    }

    private void resumed() throws Exception {
        try (Proxy proxy = new Proxy(connect); Client first = new Client(proxy.connect())) {
            first.create("/sessions/resumed", "", CreateMode.EPHEMERAL);
            // Away, so that the two handles do not take the session from each other by turns.
            proxy.cut();
            Client second = new Client(connect, Client.TIMEOUT_MS, first.zk.getSessionId(), first.zk.getSessionPasswd());
            second.session.await(KeeperState.SyncConnected);
            Suite.equal(first.zk.getSessionId(), second.zk.getSessionId());
            Suite.equal(second.zk.getSessionId(), zk.exists("/sessions/resumed", false).getEphemeralOwner());
            second.close();
            Suite.equal(null, zk.exists("/sessions/resumed", false));
            proxy.heal();
            first.session.await(KeeperState.Expired);
        }
    }

    private void takenOver() throws Exception {
        try (Client first = new Client(connect);
            Client second = new Client(connect, Client.TIMEOUT_MS, first.zk.getSessionId(), first.zk.getSessionPasswd())) {
            second.session.await(KeeperState.SyncConnected);
            first.session.await(KeeperState.Disconnected);
        }
    }

    private void wrongPassword() throws Exception {
        try (Client owner = new Client(connect);
            Client intruder = new Client(connect, Client.TIMEOUT_MS, owner.zk.getSessionId(), new byte[16])) {
            intruder.session.await(KeeperState.Expired);
            // Its connection was dropped, too; it comes back by itself.
            Suite.until("the owner goes on", () -> answers(owner.zk));
            owner.create("/sessions/owner", "", CreateMode.EPHEMERAL);
        }
    }

    private void closed() throws Exception {
        Client first = new Client(connect);
        long id = first.zk.getSessionId();
        byte[] password = first.zk.getSessionPasswd();
        first.close();
        try (Client second = new Client(connect, Client.TIMEOUT_MS, id, password)) {
            second.session.await(KeeperState.Expired);
        }
    }

    private void expires() throws Exception {
        try (Proxy proxy = new Proxy(connect); Client away = new Client(proxy.connect(), 2000)) {
            away.create("/sessions/expires", "", CreateMode.EPHEMERAL);
            Client.Recorder recorder = new Client.Recorder();
            Suite.check(zk.exists("/sessions/expires", recorder) != null, "the ephemeral is there");
            long start = System.nanoTime();
            proxy.cut();
            Suite.equal("NodeDeleted /sessions/expires", recorder.next());
            long ms = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
            Suite.check(ms >= 600 && ms < 8000, "gone after " + ms + " ms; the timeout was 2000 ms");
            proxy.heal();
            away.session.await(KeeperState.Expired);
            Suite.fails(SESSIONEXPIRED, () -> away.zk.exists("/", false));
        }
    }

    private void idle() throws Exception {
        try (Client quiet = new Client(connect, 1000)) {
            quiet.create("/sessions/idle", "", CreateMode.EPHEMERAL);
            long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(4000);
            Suite.until("four timeouts have passed", () -> System.nanoTime() > end);
            Suite.check(zk.exists("/sessions/idle", false) != null, "the ephemeral is still there");
            Suite.check(quiet.zk.getState().isConnected(), "still connected");
        }
    }

    private void brokenUnderLoad() throws Exception {
        client.create("/sessions/load", "0");
        try (Proxy proxy = new Proxy(connect); Client busy = new Client(proxy.connect())) {
            long id = busy.zk.getSessionId();
            int version = 0;
            for (int each = 0; each < 200; each++) {
                if (each % 40 == 20) {
                    proxy.dropAll();
                }
                version = setUntilDone(busy.zk, "/sessions/load", version);
            }
            Suite.equal(200, zk.exists("/sessions/load", false).getVersion());
            Suite.equal(id, busy.zk.getSessionId());
        }
    }

    /** Sets the node from `version`, again after a lost connection, by the version so that it happens once. */
    private static int setUntilDone(ZooKeeper zk, String path, int version) throws Exception {
        boolean isRepeated = false;
        while (true) {
            try {
                return zk.setData(path, Client.bytes("" + version), version).getVersion();
            } catch (KeeperException.ConnectionLossException error) {
                isRepeated = true;
                Suite.until("connected again", () -> zk.getState().isConnected());
            } catch (KeeperException.BadVersionException error) {
                Suite.check(isRepeated, "the version is wrong at the first attempt");
                return version + 1;
            }
        }
    }

    private void chroot() throws Exception {
        client.create("/sessions/root", "");
        try (Client inside = new Client(connect + "/sessions/root")) {
            Client.Recorder recorder = new Client.Recorder();
            Suite.equal("/a", inside.create("/a", "data"));
            Suite.equal("data", client.get("/sessions/root/a"));
            inside.zk.getData("/a", recorder, null);
            zk.setData("/sessions/root/a", null, -1);
            Suite.equal("NodeDataChanged /a", recorder.next());
            Suite.equal(List.of("a"), inside.zk.getChildren("/", false));
            Suite.equal("/n-0000000001", inside.create("/n-", "", CreateMode.EPHEMERAL_SEQUENTIAL));
            Suite.fails(NODEEXISTS, () -> inside.create("/a", ""));
        }
    }

    private void mayBeReadOnly() throws Exception {
        Client.Recorder recorder = new Client.Recorder();
        ZooKeeper handle = new ZooKeeper(connect, 5000, recorder, true);
        recorder.await(KeeperState.SyncConnected);
        handle.setData("/sessions", null, -1);
        handle.close();
    }

    private void many() throws Exception {
        client.create("/sessions/many", "");
        for (int round = 0; round < 5; round++) {
            List<Client> others = new ArrayList<>();
            for (int each = 0; each < 100; each++) {
                others.add(new Client(connect));
                others.get(each).create("/sessions/many/" + each, "", CreateMode.EPHEMERAL);
            }
            Suite.equal(100, zk.getChildren("/sessions/many", false).size());
            Client.closeAll(others);
        }
        Suite.equal(List.of(), zk.getChildren("/sessions/many", false));
    }

    private String word(String word) throws Exception {
        String[] parts = connect.split(":");
        return FourLetterWordMain.send4LetterWord(parts[0], Integer.parseInt(parts[1]), word);
    }

    private void fourLetterWords() throws Exception {
        Suite.equal("imok", word("ruok").strip());
        Suite.check(word("srvr").contains("Zookeeper version: ") && word("srvr").contains("Mode: standalone"), word("srvr"));
        Suite.check(word("stat").contains("Clients:") && word("stat").contains("Node count: "), word("stat"));
        Suite.check(word("mntr").contains("zk_znode_count\t"), word("mntr"));
        Suite.check(word("conf").contains("clientPort=" + connect.split(":")[1]), word("conf"));
        Suite.check(word("cons").contains("sid=0x" + Long.toHexString(zk.getSessionId())), word("cons"));
        zk.exists("/sessions/watched", new Client.Recorder());
        Suite.check(word("wchp").contains("/sessions/watched"), word("wchp"));
        Suite.check(word("wchs").contains("connections watching"), word("wchs"));
        Suite.check(word("dump").contains("SessionTracker dump:"), word("dump"));
        Suite.equal("rw", word("isro").strip());
    }

    private void killed() throws Exception {
        Client.Recorder recorder = new Client.Recorder();
        client.create("/sessions/kept", "data");
        client.create("/sessions/kept/ephemeral", "", CreateMode.EPHEMERAL);
        Stat before = zk.exists("/sessions/kept/ephemeral", false);
        zk.getData("/sessions/kept", recorder, null);
        long id = zk.getSessionId();
        Suite.restartServer();
        client.session.await(KeeperState.Disconnected);
        client.session.await(KeeperState.SyncConnected);
        Suite.equal(id, zk.getSessionId());
        Suite.equal("data", client.get("/sessions/kept"));
        Suite.equal(before, zk.exists("/sessions/kept/ephemeral", false));
        zk.setData("/sessions/kept", null, -1);
        Suite.equal("NodeDataChanged /sessions/kept", recorder.next());
    }

    private static boolean answers(ZooKeeper zk) throws Exception {
        try {
            return zk.exists("/", false) != null;
        } catch (KeeperException.ConnectionLossException error) {
            return false;
        }
    }

    private void killedUnderLoad() throws Exception {
        client.create("/sessions/killed", "");
        Set<String> acknowledged = ConcurrentHashMap.newKeySet();
        AtomicInteger lost = new AtomicInteger();
        Semaphore outstanding = new Semaphore(1000);
        boolean isKilled = false;
        for (int each = 0; lost.get() == 0; each++) {
            Suite.check(each < 2_000_000, "the connection is lost at last");
            Suite.check(outstanding.tryAcquire(Suite.WAIT_SECONDS, TimeUnit.SECONDS), "an answer");
            zk.create("/sessions/killed/" + each, null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, (code, at, context, name) -> {
                if (code == 0) {
                    acknowledged.add(at.substring(at.lastIndexOf('/') + 1));
                } else {
                    lost.incrementAndGet();
                }
                outstanding.release();
            }, null);
            if (!isKilled && acknowledged.size() > 2000) {
                isKilled = true;
                Suite.restartServer();
            }
        }
        Suite.check(outstanding.tryAcquire(1000, Suite.WAIT_SECONDS, TimeUnit.SECONDS), "every create is answered or lost");
        Suite.until("the server answers", () -> answers(zk));
        Set<String> found = Set.copyOf(zk.getChildren("/sessions/killed", false));
        acknowledged.removeAll(found);
        Suite.check(acknowledged.isEmpty(), "acknowledged and lost: " + acknowledged.size() + " such as " + acknowledged.stream().findAny());
    }
}
