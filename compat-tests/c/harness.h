// What the tests of the C client share.
//
// Each test runs in a process of its own, with a limit in time: a failed check ends that process, and
// neither a crash nor a hang in the client takes the other tests along.

#ifndef HARNESS_H
#define HARNESS_H

#define THREADED
#include <pthread.h>
#include <stdbool.h>
#include <zookeeper/zookeeper.h>

enum {
    PATIENCE_MS = 20000, // Bounds every wait for something that must happen.
    SILENCE_MS = 300,    // How long a test listens for something that must not happen.
    CALM_MS = 30000,     // A session time-out that no test outlives.
    BRIEF_MS = 2500,     // A session time-out for tests that let one expire.
    TEST_LIMIT_S = 60,
    FRAME_BYTES_MAX = 0xfffff,
    REPLY = 100, // A record's entry that is no event: a reply, `state` is its return code.
};

// What a client heard, in the order in which it heard it.
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int count;
    struct {
        int type, state;
        char path[200];
    } entries[2000];
} record;

typedef struct {
    zhandle_t *zh;
    record *session;
} client;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) failed(__FILE__, __LINE__, "%s", #condition);                            \
    } while (0)
#define CHECK_INT(got, expected)                                                                   \
    do {                                                                                           \
        long long got_ = (got), expected_ = (expected);                                            \
        if (got_ != expected_)                                                                     \
            failed(__FILE__, __LINE__, "%s is %lld, not %lld", #got, got_, expected_);             \
    } while (0)
#define CHECK_TEXT(got, expected)                                                                  \
    do {                                                                                           \
        const char *got_ = (got), *expected_ = (expected);                                         \
        if (strcmp(got_, expected_) != 0)                                                          \
            failed(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #got, got_, expected_);         \
    } while (0)

__attribute__((noreturn, format(printf, 3, 4))) void failed(const char *file, int line,
                                                            const char *format, ...);

// The server.
const char *server_address(void);
void control(const char *what);
bool word_lists(const char *word, const char *line);
long long now_ms(void);

// Sessions. `connect_to` waits until the session is there.
client connect_client(void);
client connect_to(const char *address, int timeout_ms, const clientid_t *id);
client open_to(const char *address, int timeout_ms, const clientid_t *id);
void await_state(client c, int state);

// Records. `note` is a watcher whose context is a record. `await_event` waits for that node event to be
// among its entries, `await_count` for at least so many entries; `expect_count` looks how many there
// are. Events of the session do not count.
record *new_record(void);
void note(zhandle_t *zh, int type, int state, const char *path, void *context);
void await_event(record *r, int type, const char *path);
void await_count(record *r, int count);
void expect_count(record *r, int count);
void expect_silence(record *r);
void note_reply(int rc, const void *context);
void note_stat(int rc, const struct Stat *stat, const void *context);
void note_data(int rc, const char *value, int length, const struct Stat *stat, const void *context);

// Short forms; each fails the test if the call fails.
const char *home(client c, const char *name);
const char *at(const char *parent, const char *name);
void create(client c, const char *path, const char *data, int mode);
struct Stat set(client c, const char *path, const char *data);
struct Stat stat_of(client c, const char *path);
void delete_node(client c, const char *path);
bool exists(client c, const char *path);
void authenticate(client c, const char *credentials);

// A TCP connection that a test can cut and mend: the client dials the link, the link dials the server.
// While it is cut, connections are accepted and closed at once, as a dead route's would be.
const char *link_address(void); // Makes the process's one link at the first call.
void link_cut(void);
void link_mend(void);

// The tests, ended by a null name.
typedef struct {
    const char *name;
    void (*run)(void);
} test;
extern const test tests[];

#endif
