import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.KeeperException;

/** Runs named tests, each with a deadline; prints "ok NAME" or "FAIL NAME", and the sum at the end. */
final class Suite {
    static final long WAIT_SECONDS = 20;
    private static final long TEST_SECONDS = 60;
    private final String only;
    private int passed;
    private int failed;

    interface Body {
        void run() throws Exception;
    }

    Suite(String only) {
        this.only = only;
    }

    void test(String name, Body body) {
        if (!name.contains(only)) {
            return;
        }
        Throwable[] thrown = new Throwable[1];
        Thread thread = new Thread(() -> {
            try {
                body.run();
            } catch (Throwable error) {
                thrown[0] = error;
            }
        }, name);
        thread.setDaemon(true);
        long start = System.nanoTime();
        thread.start();
        try {
            thread.join(TimeUnit.SECONDS.toMillis(TEST_SECONDS));
        } catch (InterruptedException error) {
            thrown[0] = error;
        }
        if (thread.isAlive()) {
            thrown[0] = new AssertionError("not finished after " + TEST_SECONDS + " s, at\n    "
                + String.join("\n    ", Arrays.stream(thread.getStackTrace()).limit(12).map(Object::toString).toList()));
        }
        if (thrown[0] == null) {
            passed++;
            System.out.printf("ok %s (%d ms)%n", name, TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start));
        } else {
            failed++;
            System.out.printf("FAIL %s: %s%n", name, thrown[0]);
            for (StackTraceElement at : thrown[0].getStackTrace()) {
                if (at.getClassName().endsWith("Tests") || at.getClassName().contains("Tests$")) {
                    System.out.println("    at " + at);
                }
            }
        }
        System.out.flush();
    }

    int finish() {
        System.out.printf("%d passed, %d failed%n", passed, failed);
        return failed == 0 && passed > 0 ? 0 : 1;
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object expected, Object actual) {
        if (!Objects.deepEquals(expected, actual)) {
            throw new AssertionError("expected " + show(expected) + ", found " + show(actual));
        }
    }

    private static String show(Object value) {
        return value instanceof byte[] bytes ? Arrays.toString(bytes) : String.valueOf(value);
    }

    /** Polls until the condition holds. */
    static void until(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_SECONDS);
        while (!condition.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("still not so after " + WAIT_SECONDS + " s: " + what);
            }
            TimeUnit.MILLISECONDS.sleep(10);
        }
    }

    static void fails(KeeperException.Code code, Body body) throws Exception {
        try {
            body.run();
        } catch (KeeperException error) {
            equal(code, error.code());
            return;
        }
        throw new AssertionError("expected " + code + ", but it succeeded");
    }

    /** Kills the server with SIGKILL and starts it again; returns at once. */
    static void restartServer() throws Exception {
        new ProcessBuilder("kill", "-USR1", System.getenv("ZK_SUPERVISOR")).inheritIO().start().waitFor();
    }
}
