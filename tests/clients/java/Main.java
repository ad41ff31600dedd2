/** Apache's Java client and Curator against the server at $ZK_CONNECT. Argument: run only tests whose name contains it. */
public final class Main {
    public static void main(String[] arguments) throws Exception {
        String connect = System.getenv("ZK_CONNECT");
        Suite suite = new Suite(arguments.length > 0 ? arguments[0] : "");
        new RequestTests(suite, connect).run();
        new WatchTests(suite, connect).run();
        new AccessTests(suite, connect).run();
        new SessionTests(suite, connect).run();
        new CuratorTests(suite, connect).run();
        System.exit(suite.finish());
    }
}
