package rookeeper.compat.support;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A stretch of network between a client and the server that a test can cut.
 *
 * <p>It forwards bytes and never looks into them.
 */
public final class Link implements Closeable {
    private final ServerSocket door;
    private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
    private final AtomicBoolean losesReply = new AtomicBoolean();
    private volatile boolean isCut;

    public Link() throws IOException {
        door = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        spawn("link-door", this::accept);
    }

    /** The connect string for clients that are to go through this link. */
    public String connectString() {
        return "127.0.0.1:" + door.getLocalPort();
    }

    /** Ends all connections and lets no new one through until {@link #mend()}. */
    public void cut() {
        isCut = true;
        dropConnections();
    }

    public void mend() {
        isCut = false;
    }

    /** Ends all connections; clients may come back at once. */
    public void dropConnections() {
        sockets.forEach(Link::closeQuietly);
    }

    /**
     * The next bytes from the server are lost and the connection with them, so a client cannot know
     * whether its request was carried out.
     */
    public void loseNextReply() {
        losesReply.set(true);
    }

    /** Whether the loss asked for by {@link #loseNextReply()} has happened. */
    public boolean hasLostReply() {
        return !losesReply.get();
    }

    @Override
    public void close() throws IOException {
        door.close();
        cut();
    }

    private void accept() {
        while (!door.isClosed()) {
            Socket client = null;
            try {
                client = door.accept();
                connect(client);
            } catch (IOException e) {
                closeQuietly(client);
            }
        }
    }

    private void connect(Socket client) throws IOException {
        if (isCut) {
            client.close();
            return;
        }
        int colon = Server.CONNECT.lastIndexOf(':');
        int port = Integer.parseInt(Server.CONNECT.substring(colon + 1));
        Socket server = new Socket(Server.CONNECT.substring(0, colon), port);
        client.setTcpNoDelay(true);
        server.setTcpNoDelay(true);
        sockets.add(client);
        sockets.add(server);
        if (isCut) { // It may have been cut since we looked.
            dropConnections();
        }
        spawn("link-requests", () -> copy(client, server, false));
        spawn("link-replies", () -> copy(server, client, true));
    }

    private void copy(Socket from, Socket to, boolean areReplies) {
        byte[] buffer = new byte[64 * 1024];
        try {
            InputStream in = from.getInputStream();
            OutputStream out = to.getOutputStream();
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                if (areReplies && losesReply.compareAndSet(true, false)) {
                    return;
                }
                out.write(buffer, 0, n);
            }
        } catch (IOException e) {
            // One end is gone; the other follows.
        } finally {
            closeQuietly(from);
            closeQuietly(to);
            sockets.remove(from);
            sockets.remove(to);
        }
    }

    private static void spawn(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
    }

    private static void closeQuietly(Socket socket) {
        if (socket != null) {
            try {
                socket.close();
            } catch (IOException e) {
                // It is being thrown away.
            }
        }
    }
}
