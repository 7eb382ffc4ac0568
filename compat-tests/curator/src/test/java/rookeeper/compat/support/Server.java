package rookeeper.compat.support;

import java.io.File;
import java.nio.file.Files;
import java.util.concurrent.TimeUnit;

/**
 * The server under test: where it listens, and how it is stopped and started again.
 *
 * <p>Everything comes from system properties, so that this suite knows nothing about which server
 * it talks to: {@code zk} (connect string), {@code zk.tick} (its tickTime in ms), {@code zk.start},
 * {@code zk.stop} and {@code zk.kill} (shell commands; each returns when its work is done).
 */
public final class Server {
    /** The connect string of the server, {@code host:port}. */
    public static final String CONNECT = required("zk");

    /** Its tickTime; sessions last from 2 to 20 of these. */
    public static final int TICK_MS = Integer.parseInt(required("zk.tick"));

    private static final int COMMAND_SECONDS_MAX = 60;

    private Server() {}

    /** Asks the server to end and waits until it has. */
    public static void stop() throws Exception {
        run("zk.stop");
    }

    /** Ends the server as a power cut would: it gets no chance to write anything. */
    public static void kill() throws Exception {
        run("zk.kill");
    }

    /** Starts the server on its old data and waits until it answers. */
    public static void start() throws Exception {
        run("zk.start");
    }

    public static void restart() throws Exception {
        stop();
        start();
    }

    private static void run(String property) throws Exception {
        String command = required(property);
        // To a file, not to a pipe: the server that is started may keep the descriptor open.
        File output = File.createTempFile(property, ".out");
        try {
            Process process =
                    new ProcessBuilder("sh", "-c", command)
                            .redirectErrorStream(true)
                            .redirectOutput(output)
                            .start();
            if (!process.waitFor(COMMAND_SECONDS_MAX, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new AssertionError(property + " takes over " + COMMAND_SECONDS_MAX + " s");
            }
            if (process.exitValue() != 0) {
                throw new AssertionError(
                        String.format(
                                "%s: `%s` exited with %d:%n%s",
                                property,
                                command,
                                process.exitValue(),
                                Files.readString(output.toPath())));
            }
        } finally {
            Files.deleteIfExists(output.toPath());
        }
    }

    private static String required(String property) {
        String value = System.getProperty(property);
        if (value == null || value.isEmpty()) {
            throw new IllegalStateException("start this suite with ./run, or pass -D" + property);
        }
        return value;
    }
}
