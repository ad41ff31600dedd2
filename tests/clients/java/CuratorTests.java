import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceProvider;
import org.apache.zookeeper.CreateMode;

/** Curator's recipes, each with at least two clients. */
final class CuratorTests {
    private final Suite suite;
    private final String connect;
    private CuratorFramework one;
    private CuratorFramework two;

    CuratorTests(Suite suite, String connect) {
        this.suite = suite;
        this.connect = connect;
    }

    void run() throws Exception {
        one = start(connect);
        two = start(connect);
        suite.test("Curator: fluent calls, transactions, background", this::fluent);
        suite.test("Curator: InterProcessMutex", this::mutex);
        suite.test("Curator: InterProcessMutex of a client that dies", this::mutexOfTheDead);
        suite.test("Curator: read/write lock", this::readWriteLock);
        suite.test("Curator: semaphore", this::semaphore);
        suite.test("Curator: LeaderLatch", this::leaderLatch);
        suite.test("Curator: LeaderSelector", this::leaderSelector);
        suite.test("Curator: CuratorCache", this::cache);
        suite.test("Curator: TreeCache", this::treeCache);
        suite.test("Curator: PathChildrenCache", this::pathCache);
        suite.test("Curator: caches follow over a reconnect", this::cacheReconnect);
        suite.test("Curator: PersistentWatcher", this::persistentWatcher);
        suite.test("Curator: DistributedQueue", this::queue);
        suite.test("Curator: barrier", this::barrier);
        suite.test("Curator: double barrier", this::doubleBarrier);
        suite.test("Curator: PersistentNode", this::persistentNode);
        suite.test("Curator: PersistentTtlNode", this::ttlNode);
        suite.test("Curator: GroupMember", this::groupMember);
        suite.test("Curator: SharedCount", this::sharedCount);
        suite.test("Curator: DistributedAtomicLong", this::atomicLong);
        suite.test("Curator: ServiceDiscovery", this::discovery);
        suite.test("Curator: a new session after expiry", this::expiry);
        one.close();
        two.close();
    }

    private static CuratorFramework start(String connect) {
        CuratorFramework client = CuratorFrameworkFactory.builder().connectString(connect).sessionTimeoutMs(8000)
            .connectionTimeoutMs(8000).retryPolicy(new RetryForever(50)).build();
        client.start();
        return client;
    }

    private static boolean arrives(CountDownLatch latch) throws Exception {
        return latch.await(Suite.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    private static Thread thread(Suite.Body body, List<Throwable> errors) {
        Thread thread = new Thread(() -> {
            try {
                body.run();
            } catch (Throwable error) {
                errors.add(error);
            }
        });
        thread.start();
        return thread;
    }

    private void fluent() throws Exception {
        one.create().creatingParentContainersIfNeeded().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/fluent/protected/n-");
        one.create().orSetData().creatingParentsIfNeeded().forPath("/fluent/a/b", Client.bytes("x"));
        one.create().orSetData().forPath("/fluent/a/b", Client.bytes("y"));
        Suite.equal(Client.bytes("y"), two.getData().forPath("/fluent/a/b"));
        one.transaction().forOperations(one.transactionOp().create().forPath("/fluent/c"), one.transactionOp().delete().forPath("/fluent/a/b"));
        CountDownLatch done = new CountDownLatch(1);
        one.getChildren().inBackground((client, event) -> done.countDown()).forPath("/fluent");
        Suite.check(arrives(done), "the background call is answered");
        one.delete().deletingChildrenIfNeeded().forPath("/fluent");
        Suite.equal(null, two.checkExists().forPath("/fluent"));
    }

    private void mutex() throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger entered = new AtomicInteger();
        List<Throwable> errors = Collections.synchronizedList(new ArrayList<>());
        List<Thread> threads = new ArrayList<>();
        for (int each = 0; each < 6; each++) {
            CuratorFramework client = each % 2 == 0 ? one : two;
            threads.add(thread(() -> {
                InterProcessMutex mutex = new InterProcessMutex(client, "/curator/mutex");
                for (int round = 0; round < 20; round++) {
                    Suite.check(mutex.acquire(30, TimeUnit.SECONDS), "acquired");
                    Suite.equal(1, inside.incrementAndGet());
                    entered.incrementAndGet();
                    inside.decrementAndGet();
                    mutex.release();
                }
            }, errors));
        }
        for (Thread each : threads) {
            each.join();
        }
        Suite.equal(List.of(), errors);
        Suite.equal(120, entered.get());
    }

    private void mutexOfTheDead() throws Exception {
        try (Proxy proxy = new Proxy(connect)) {
            CuratorFramework dying = CuratorFrameworkFactory.newClient(proxy.connect(), 2000, 2000, new RetryNTimes(1, 10));
            dying.start();
            new InterProcessMutex(dying, "/curator/dead").acquire();
            InterProcessMutex mine = new InterProcessMutex(one, "/curator/dead");
            Suite.check(!mine.acquire(100, TimeUnit.MILLISECONDS), "the lock is taken");
            proxy.cut();
            Suite.check(mine.acquire(Suite.WAIT_SECONDS, TimeUnit.SECONDS), "the lock of the dead is free");
            mine.release();
            dying.close();
        }
    }

    private void readWriteLock() throws Exception {
        InterProcessReadWriteLock first = new InterProcessReadWriteLock(one, "/curator/rw");
        InterProcessReadWriteLock second = new InterProcessReadWriteLock(two, "/curator/rw");
        first.readLock().acquire();
        Suite.check(second.readLock().acquire(5, TimeUnit.SECONDS), "two read");
        second.readLock().release();
        Suite.check(!second.writeLock().acquire(100, TimeUnit.MILLISECONDS), "nobody writes while one reads");
        first.readLock().release();
        Suite.check(second.writeLock().acquire(5, TimeUnit.SECONDS), "now one writes");
        second.writeLock().release();
    }

    private void semaphore() throws Exception {
        InterProcessSemaphoreV2 first = new InterProcessSemaphoreV2(one, "/curator/semaphore", 3);
        InterProcessSemaphoreV2 second = new InterProcessSemaphoreV2(two, "/curator/semaphore", 3);
        Lease a = first.acquire(5, TimeUnit.SECONDS);
        Lease b = second.acquire(5, TimeUnit.SECONDS);
        Lease c = second.acquire(5, TimeUnit.SECONDS);
        Suite.check(a != null && b != null && c != null, "three leases");
        Suite.equal(null, first.acquire(200, TimeUnit.MILLISECONDS));
        second.returnLease(b);
        Lease d = first.acquire(5, TimeUnit.SECONDS);
        Suite.check(d != null, "a returned lease is free");
        first.returnLease(a);
        first.returnLease(d);
        second.returnLease(c);
    }

    private void leaderLatch() throws Exception {
        LeaderLatch first = new LeaderLatch(one, "/curator/latch", "one");
        LeaderLatch second = new LeaderLatch(two, "/curator/latch", "two");
        first.start();
        Suite.check(first.await(Suite.WAIT_SECONDS, TimeUnit.SECONDS), "the first leads");
        second.start();
        Suite.until("two take part", () -> second.getParticipants().size() == 2);
        Suite.equal("one", second.getLeader().getId());
        Suite.check(!second.hasLeadership(), "one leader");
        first.close();
        Suite.check(second.await(Suite.WAIT_SECONDS, TimeUnit.SECONDS), "the second leads");
        second.close();
    }

    private void leaderSelector() throws Exception {
        AtomicInteger leading = new AtomicInteger();
        CountDownLatch turns = new CountDownLatch(6);
        List<Throwable> errors = Collections.synchronizedList(new ArrayList<>());
        List<LeaderSelector> selectors = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two, one)) {
            LeaderSelector selector = new LeaderSelector(client, "/curator/selector", new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework client) {
                    if (leading.incrementAndGet() != 1) {
                        errors.add(new AssertionError("two leaders"));
                    }
                    leading.decrementAndGet();
                    turns.countDown();
                }
            });
            selector.autoRequeue();
            selectors.add(selector);
            selector.start();
        }
        Suite.check(arrives(turns), "leadership goes round");
        selectors.forEach(LeaderSelector::close);
        Suite.equal(List.of(), errors);
    }

    private void cache() throws Exception {
        one.create().creatingParentsIfNeeded().forPath("/curator/cache/a", Client.bytes("1"));
        List<String> events = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch ready = new CountDownLatch(1);
        try (CuratorCache cache = CuratorCache.build(two, "/curator/cache")) {
            cache.listenable().addListener(CuratorCacheListener.builder().afterInitialized()
                .forCreates(node -> events.add("created " + node.getPath()))
                .forChanges((old, node) -> events.add("changed " + node.getPath()))
                .forDeletes(node -> events.add("deleted " + node.getPath())).build());
            cache.listenable().addListener(CuratorCacheListener.builder().forInitialized(ready::countDown).build());
            cache.start();
            Suite.check(arrives(ready), "the cache is filled");
            Suite.equal(Client.bytes("1"), cache.get("/curator/cache/a").get().getData());
            one.create().forPath("/curator/cache/a/b", Client.bytes("2"));
            Suite.until("the create is seen", () -> events.contains("created /curator/cache/a/b"));
            one.setData().forPath("/curator/cache/a", Client.bytes("3"));
            Suite.until("the change is seen", () -> events.contains("changed /curator/cache/a"));
            one.delete().forPath("/curator/cache/a/b");
            Suite.until("the delete is seen", () -> events.contains("deleted /curator/cache/a/b"));
            Suite.equal(Client.bytes("3"), cache.get("/curator/cache/a").get().getData());
        }
    }

    private void treeCache() throws Exception {
        for (int each = 0; each < 50; each++) {
            one.create().creatingParentsIfNeeded().forPath("/curator/tree/" + each % 5 + "/" + each, Client.bytes("" + each));
        }
        try (TreeCache cache = TreeCache.newBuilder(two, "/curator/tree").build()) {
            cache.start();
            Suite.until("filled", () -> {
                int count = 0;
                for (int each = 0; each < 5; each++) {
                    var children = cache.getCurrentChildren("/curator/tree/" + each);
                    count += children == null ? 0 : children.size();
                }
                return count == 50;
            });
            one.delete().deletingChildrenIfNeeded().forPath("/curator/tree/3");
            Suite.until("a subtree is gone", () -> cache.getCurrentData("/curator/tree/3") == null);
            one.setData().forPath("/curator/tree/0/0", Client.bytes("new"));
            Suite.until("a change is seen", () -> new String(cache.getCurrentData("/curator/tree/0/0").getData()).equals("new"));
        }
    }

    private void pathCache() throws Exception {
        one.create().creatingParentsIfNeeded().forPath("/curator/path/a", Client.bytes("1"));
        try (PathChildrenCache cache = new PathChildrenCache(two, "/curator/path", true)) {
            cache.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
            Suite.equal(1, cache.getCurrentData().size());
            one.create().withMode(CreateMode.EPHEMERAL).forPath("/curator/path/b");
            Suite.until("two children", () -> cache.getCurrentData().size() == 2);
            one.delete().forPath("/curator/path/a");
            Suite.until("one child", () -> cache.getCurrentData().size() == 1);
        }
    }

    private void cacheReconnect() throws Exception {
        one.create().creatingParentsIfNeeded().forPath("/curator/reconnect/a", Client.bytes("1"));
        try (Proxy proxy = new Proxy(connect)) {
            CuratorFramework away = start(proxy.connect());
            CountDownLatch suspended = new CountDownLatch(1);
            away.getConnectionStateListenable().addListener((client, state) -> {
                if (state == ConnectionState.SUSPENDED) {
                    suspended.countDown();
                }
            });
            try (CuratorCache cache = CuratorCache.build(away, "/curator/reconnect")) {
                cache.start();
                Suite.until("filled", () -> cache.get("/curator/reconnect/a").isPresent());
                proxy.cut();
                Suite.check(arrives(suspended), "suspended");
                one.setData().forPath("/curator/reconnect/a", Client.bytes("2"));
                one.create().forPath("/curator/reconnect/b");
                proxy.heal();
                Suite.until("what was missed is there", () -> cache.get("/curator/reconnect/b").isPresent()
                    && new String(cache.get("/curator/reconnect/a").get().getData()).equals("2"));
            }
            away.close();
        }
    }

    private void persistentWatcher() throws Exception {
        one.create().creatingParentsIfNeeded().forPath("/curator/watched");
        List<String> events = Collections.synchronizedList(new ArrayList<>());
        try (PersistentWatcher watcher = new PersistentWatcher(two, "/curator/watched", true)) {
            watcher.getListenable().addListener(event -> events.add(event.getType() + " " + event.getPath()));
            CountDownLatch set = new CountDownLatch(1);
            watcher.getResetListenable().addListener(set::countDown);
            watcher.start();
            Suite.check(arrives(set), "the watch is set");
            one.create().forPath("/curator/watched/a");
            one.delete().forPath("/curator/watched/a");
            Suite.until("both are seen", () -> events.equals(List.of("NodeCreated /curator/watched/a", "NodeDeleted /curator/watched/a")));
        }
    }

    private void queue() throws Exception {
        Set<String> consumed = new ConcurrentSkipListSet<>();
        QueueSerializer<String> serializer = new QueueSerializer<>() {
            @Override
            public byte[] serialize(String item) {
                return Client.bytes(item);
            }

            @Override
            public String deserialize(byte[] bytes) {
                return new String(bytes);
            }
        };
        QueueConsumer<String> consumer = new QueueConsumer<>() {
            @Override
            public void consumeMessage(String message) {
                consumed.add(message);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {
                // Not of interest.
            }
        };
        try (DistributedQueue<String> reader = QueueBuilder.builder(one, consumer, serializer, "/curator/queue").lockPath("/curator/queue-locks").buildQueue();
            DistributedQueue<String> writer = QueueBuilder.builder(two, null, serializer, "/curator/queue").buildQueue()) {
            reader.start();
            writer.start();
            for (int each = 0; each < 50; each++) {
                writer.put("item " + each);
            }
            Suite.until("all are consumed, got " + consumed.size(), () -> consumed.size() == 50);
        }
    }

    private void barrier() throws Exception {
        DistributedBarrier first = new DistributedBarrier(one, "/curator/barrier");
        first.setBarrier();
        List<Throwable> errors = Collections.synchronizedList(new ArrayList<>());
        AtomicInteger passed = new AtomicInteger();
        Thread waiting = thread(() -> {
            Suite.check(new DistributedBarrier(two, "/curator/barrier").waitOnBarrier(30, TimeUnit.SECONDS), "passed");
            passed.incrementAndGet();
        }, errors);
        Suite.equal(0, passed.get());
        first.removeBarrier();
        waiting.join();
        Suite.equal(List.of(), errors);
        Suite.equal(1, passed.get());
    }

    private void doubleBarrier() throws Exception {
        List<Throwable> errors = Collections.synchronizedList(new ArrayList<>());
        AtomicInteger entered = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        for (int each = 0; each < 4; each++) {
            CuratorFramework client = each % 2 == 0 ? one : two;
            threads.add(thread(() -> {
                DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, "/curator/double", 4);
                entered.incrementAndGet();
                Suite.check(barrier.enter(30, TimeUnit.SECONDS), "entered");
                Suite.equal(4, entered.get());
                Suite.check(barrier.leave(30, TimeUnit.SECONDS), "left");
            }, errors));
        }
        for (Thread each : threads) {
            each.join();
        }
        Suite.equal(List.of(), errors);
    }

    private void persistentNode() throws Exception {
        try (PersistentNode node = new PersistentNode(one, CreateMode.EPHEMERAL, false, "/curator/node", Client.bytes("x"))) {
            node.start();
            Suite.check(node.waitForInitialCreate(Suite.WAIT_SECONDS, TimeUnit.SECONDS), "created");
            long czxid = two.checkExists().forPath("/curator/node").getCzxid();
            two.delete().forPath("/curator/node");
            Suite.until("it comes back", () -> two.checkExists().forPath("/curator/node") != null);
            Suite.check(two.checkExists().forPath("/curator/node").getCzxid() > czxid, "it is a new one");
        }
        Suite.until("gone with its owner", () -> two.checkExists().forPath("/curator/node") == null);
    }

    private void ttlNode() throws Exception {
        try (PersistentTtlNode node = new PersistentTtlNode(one, "/curator/ttl", 1500, Client.bytes("x"))) {
            node.start();
            Suite.check(node.waitForInitialCreate(Suite.WAIT_SECONDS, TimeUnit.SECONDS), "created");
        }
        Suite.until("gone when nobody touches it", () -> two.checkExists().forPath("/curator/ttl") == null);
    }

    private void groupMember() throws Exception {
        try (GroupMember first = new GroupMember(one, "/curator/group", "one")) {
            first.start();
            GroupMember second = new GroupMember(two, "/curator/group", "two");
            second.start();
            Suite.until("two members", () -> first.getCurrentMembers().size() == 2);
            second.close();
            Suite.until("one member", () -> first.getCurrentMembers().size() == 1);
        }
    }

    private void sharedCount() throws Exception {
        try (SharedCount first = new SharedCount(one, "/curator/count", 5); SharedCount second = new SharedCount(two, "/curator/count", 5)) {
            first.start();
            second.start();
            first.setCount(6);
            Suite.until("seen by the other", () -> second.getCount() == 6);
            Suite.check(second.trySetCount(second.getVersionedValue(), 7), "set from the version seen");
            Suite.until("seen by the first", () -> first.getCount() == 7);
        }
    }

    private void atomicLong() throws Exception {
        List<Throwable> errors = Collections.synchronizedList(new ArrayList<>());
        List<Thread> threads = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two)) {
            threads.add(thread(() -> {
                DistributedAtomicLong counter = new DistributedAtomicLong(client, "/curator/long", new RetryNTimes(200, 2));
                for (int each = 0; each < 100; each++) {
                    Suite.check(counter.increment().succeeded(), "incremented");
                }
            }, errors));
        }
        for (Thread each : threads) {
            each.join();
        }
        Suite.equal(List.of(), errors);
        Suite.equal(200L, new DistributedAtomicLong(one, "/curator/long", new RetryNTimes(3, 10)).get().postValue());
    }

    private void discovery() throws Exception {
        ServiceInstance<Void> instance = ServiceInstance.<Void>builder().name("shop").address("127.0.0.1").port(8080).build();
        try (ServiceDiscovery<Void> server = ServiceDiscoveryBuilder.builder(Void.class).client(one).basePath("/curator/services").thisInstance(instance).build();
            ServiceDiscovery<Void> finder = ServiceDiscoveryBuilder.builder(Void.class).client(two).basePath("/curator/services").build()) {
            server.start();
            finder.start();
            Suite.equal(Set.of("shop"), Set.copyOf(finder.queryForNames()));
            Suite.equal(8080, finder.queryForInstances("shop").iterator().next().getPort());
            try (ServiceProvider<Void> provider = finder.serviceProviderBuilder().serviceName("shop").build()) {
                provider.start();
                Suite.until("provided", () -> provider.getInstance() != null);
                server.unregisterService(instance);
                Suite.until("withdrawn", () -> provider.getInstance() == null);
            }
        }
    }

    private void expiry() throws Exception {
        try (Proxy proxy = new Proxy(connect)) {
            CuratorFramework away = CuratorFrameworkFactory.newClient(proxy.connect(), 1000, 5000, new RetryForever(50));
            Set<ConnectionState> states = ConcurrentHashMap.newKeySet();
            away.getConnectionStateListenable().addListener((client, state) -> states.add(state));
            away.start();
            away.create().creatingParentsIfNeeded().withMode(CreateMode.EPHEMERAL).forPath("/curator/expiry");
            long id = away.getZookeeperClient().getZooKeeper().getSessionId();
            proxy.cut();
            Suite.until("the ephemeral is gone", () -> one.checkExists().forPath("/curator/expiry") == null);
            proxy.heal();
            Suite.until("reconnected", () -> states.contains(ConnectionState.LOST) && states.contains(ConnectionState.RECONNECTED));
            away.create().withMode(CreateMode.EPHEMERAL).forPath("/curator/expiry");
            Suite.check(away.getZookeeperClient().getZooKeeper().getSessionId() != id, "a new session");
            away.close();
        }
    }
}
