import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** A proxy on loopback which breaks connections on demand. */
final class Proxy implements Closeable {
    private final InetSocketAddress server;
    private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
    private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
    private volatile boolean isOpen = true;

    Proxy(String connect) throws IOException {
        String[] parts = connect.split(":");
        server = new InetSocketAddress(parts[0], Integer.parseInt(parts[1]));
        start(this::accept);
    }

    String connect() {
        return "127.0.0.1:" + listener.getLocalPort();
    }

    /** Breaks every connection; new ones are let through again only after `heal`. */
    void cut() {
        isOpen = false;
        dropAll();
    }

    void heal() {
        isOpen = true;
    }

    /** Breaks every connection; clients may reconnect at once. */
    void dropAll() {
        sockets.forEach(Proxy::closeQuietly);
        sockets.clear();
    }

    @Override
    public void close() throws IOException {
        isOpen = false;
        listener.close();
        dropAll();
    }

    private void accept() {
        while (!listener.isClosed()) {
            Socket client = null;
            try {
                client = listener.accept();
                if (!isOpen) {
                    client.close();
                    continue;
                }
                Socket upstream = new Socket();
                sockets.add(client);
                sockets.add(upstream);
                upstream.connect(server, 5000);
                Socket from = client;
                start(() -> pipe(from, upstream));
                start(() -> pipe(upstream, from));
                if (!isOpen) {
                    dropAll();
                }
            } catch (IOException error) {
                closeQuietly(client);
            }
        }
    }

    private void pipe(Socket from, Socket to) {
        byte[] buffer = new byte[65536];
        try {
            InputStream in = from.getInputStream();
            OutputStream out = to.getOutputStream();
            for (int length = in.read(buffer); length > 0; length = in.read(buffer)) {
                out.write(buffer, 0, length);
            }
        } catch (IOException error) {
            // Either side is gone: so is the other.
        }
        closeQuietly(from);
        closeQuietly(to);
    }

    private static void closeQuietly(Socket socket) {
        try {
            if (socket != null) {
                socket.close();
            }
        } catch (IOException error) {
            // Closed is what it was to be.
        }
    }

    private static void start(Runnable body) {
        Thread thread = new Thread(body, "proxy");
        thread.setDaemon(true);
        thread.start();
    }
}
