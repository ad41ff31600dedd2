import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;

/** A connected ZooKeeper handle, and what its default watcher saw. */
final class Client implements AutoCloseable {
    static final int TIMEOUT_MS = 8000;
    final ZooKeeper zk;
    final Recorder session = new Recorder();

    /** Remembers events in their order. */
    static final class Recorder implements Watcher {
        private final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();

        @Override
        public void process(WatchedEvent event) {
            events.add(event);
        }

        /** The next event about a node, as "Type path"; session events are passed over. */
        String next() throws InterruptedException {
            while (true) {
                WatchedEvent event = events.poll(Suite.WAIT_SECONDS, TimeUnit.SECONDS);
                if (event == null) {
                    throw new AssertionError("no event came within " + Suite.WAIT_SECONDS + " s");
                }
                if (event.getType() != Event.EventType.None) {
                    return event.getType() + " " + event.getPath();
                }
            }
        }

        /** Waits for a session event. */
        void await(Event.KeeperState state) throws InterruptedException {
            while (true) {
                WatchedEvent event = events.poll(Suite.WAIT_SECONDS, TimeUnit.SECONDS);
                if (event == null) {
                    throw new AssertionError("the session did not become " + state + " within " + Suite.WAIT_SECONDS + " s");
                }
                if (event.getType() == Event.EventType.None && event.getState() == state) {
                    return;
                }
            }
        }

        /** Events about nodes that came and were not taken. */
        List<String> rest() {
            List<String> rest = new ArrayList<>();
            events.forEach(event -> {
                if (event.getType() != Event.EventType.None) {
                    rest.add(event.getType() + " " + event.getPath());
                }
            });
            return rest;
        }
    }

    Client(String connect) throws Exception {
        this(connect, TIMEOUT_MS);
    }

    Client(String connect, int timeoutMs) throws Exception {
        zk = new ZooKeeper(connect, timeoutMs, session);
        session.await(Watcher.Event.KeeperState.SyncConnected);
    }

    Client(String connect, int timeoutMs, long id, byte[] password) throws Exception {
        zk = new ZooKeeper(connect, timeoutMs, session, id, password);
    }

    String create(String path, String data) throws Exception {
        return create(path, data, CreateMode.PERSISTENT);
    }

    String create(String path, String data, CreateMode mode) throws Exception {
        return zk.create(path, bytes(data), Ids.OPEN_ACL_UNSAFE, mode);
    }

    String get(String path) throws Exception {
        return new String(zk.getData(path, false, null), StandardCharsets.UTF_8);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Closes many at once: a handle takes a tenth of a second, mostly waiting for its own threads. */
    static void closeAll(List<Client> clients) {
        clients.stream().map(each -> CompletableFuture.runAsync(() -> {
            try {
                each.close();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }, task -> new Thread(task).start())).toList().forEach(CompletableFuture::join);
    }

    @Override
    public void close() throws Exception {
        zk.close();
    }
}
