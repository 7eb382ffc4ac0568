// Runs the tests, and holds what they share; see harness.h.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

void failed(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("    %s:%d: ", file, line);
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    _exit(1);
}

long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// The server.

const char *server_address(void) {
    static char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%s", getenv("COMPAT_PORT"));
    return text;
}

void control(const char *what) {
    const char *program = getenv("COMPAT_CONTROL"), *dir = getenv("COMPAT_DIR");
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        // The client's sockets must not live on in the server.
        for (int fd = 3; fd < 1024; fd++) close(fd);
        execl(program, program, what, dir, (char *)NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
}

// Whether the answer to a four-letter word has this line.
bool word_lists(const char *word, const char *line) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)atoi(getenv("COMPAT_PORT")));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(send(fd, word, strlen(word), MSG_NOSIGNAL) == (ssize_t)strlen(word));
    FILE *answer = fdopen(fd, "r");
    char text[1000];
    bool found = false;
    while (fgets(text, sizeof text, answer) != NULL) {
        text[strcspn(text, "\n")] = 0;
        found = found || strcmp(text, line) == 0;
    }
    fclose(answer);
    return found;
}

// Records.

record *new_record(void) {
    record *r = calloc(1, sizeof *r);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->changed, &attributes);
    return r;
}

void note(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh;
    record *r = context;
    pthread_mutex_lock(&r->mutex);
    CHECK(r->count < (int)(sizeof r->entries / sizeof r->entries[0]));
    r->entries[r->count].type = type;
    r->entries[r->count].state = state;
    snprintf(r->entries[r->count].path, sizeof r->entries[0].path, "%s", path != NULL ? path : "");
    r->count++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

void note_reply(int rc, const void *context) { note(NULL, REPLY, rc, "", (void *)context); }

void note_stat(int rc, const struct Stat *stat, const void *context) {
    (void)stat;
    note_reply(rc, context);
}

void note_data(int rc, const char *value, int length, const struct Stat *stat,
               const void *context) {
    (void)stat;
    char text[200] = "";
    CHECK(length < (int)sizeof text);
    if (length > 0) memcpy(text, value, (size_t)length);
    note(NULL, REPLY, rc, text, (void *)context);
}

// Waits, with the record locked, for the next entry; says whether there is still time.
static bool await_change(record *r, long long deadline_ms) {
    struct timespec deadline = {deadline_ms / 1000, deadline_ms % 1000 * 1000000};
    return pthread_cond_timedwait(&r->changed, &r->mutex, &deadline) == 0;
}

static int node_entries(const record *r) {
    int count = 0;
    for (int i = 0; i < r->count; i++) count += r->entries[i].type != ZOO_SESSION_EVENT;
    return count;
}

void await_event(record *r, int type, const char *path) {
    long long deadline_ms = now_ms() + PATIENCE_MS;
    pthread_mutex_lock(&r->mutex);
    for (int next = 0;;) {
        for (; next < r->count; next++) {
            if (r->entries[next].type == type && strcmp(r->entries[next].path, path) == 0) {
                pthread_mutex_unlock(&r->mutex);
                return;
            }
        }
        if (!await_change(r, deadline_ms))
            failed(__FILE__, __LINE__, "waited in vain for event %d of %s", type, path);
    }
}

void await_count(record *r, int count) {
    long long deadline_ms = now_ms() + PATIENCE_MS;
    pthread_mutex_lock(&r->mutex);
    while (node_entries(r) < count) {
        if (!await_change(r, deadline_ms))
            failed(__FILE__, __LINE__, "%d of %d entries", node_entries(r), count);
    }
    pthread_mutex_unlock(&r->mutex);
}

void expect_count(record *r, int count) {
    pthread_mutex_lock(&r->mutex);
    CHECK_INT(node_entries(r), count);
    pthread_mutex_unlock(&r->mutex);
}

void expect_silence(record *r) {
    pthread_mutex_lock(&r->mutex);
    int before = node_entries(r);
    pthread_mutex_unlock(&r->mutex);
    usleep(SILENCE_MS * 1000);
    expect_count(r, before);
}

// Sessions.

client open_to(const char *address, int timeout_ms, const clientid_t *id) {
    client c = {.session = new_record()};
    c.zh = zookeeper_init(address, note, timeout_ms, id, c.session, ZOO_NO_LOG_CLIENTENV);
    CHECK(c.zh != NULL);
    return c;
}

client connect_to(const char *address, int timeout_ms, const clientid_t *id) {
    client c = open_to(address, timeout_ms, id);
    await_state(c, ZOO_CONNECTED_STATE);
    return c;
}

client connect_client(void) { return connect_to(server_address(), CALM_MS, NULL); }

void await_state(client c, int state) {
    long long deadline_ms = now_ms() + PATIENCE_MS;
    pthread_mutex_lock(&c.session->mutex);
    while (zoo_state(c.zh) != state) {
        if (!await_change(c.session, deadline_ms))
            failed(__FILE__, __LINE__, "session state is %d, not %d", zoo_state(c.zh), state);
    }
    pthread_mutex_unlock(&c.session->mutex);
}

// Short forms.

const char *at(const char *parent, const char *name) {
    char *path = malloc(strlen(parent) + strlen(name) + 2);
    sprintf(path, "%s/%s", parent, name);
    return path;
}

const char *home(client c, const char *name) {
    const char *path = at("", name);
    create(c, path, "", ZOO_PERSISTENT);
    return path;
}

void create(client c, const char *path, const char *data, int mode) {
    int rc = zoo_create(c.zh, path, data, (int)strlen(data), &ZOO_OPEN_ACL_UNSAFE, mode, NULL, 0);
    if (rc != ZOK) failed(__FILE__, __LINE__, "create %s: %s", path, zerror(rc));
}

struct Stat set(client c, const char *path, const char *data) {
    struct Stat stat;
    int rc = zoo_set2(c.zh, path, data, (int)strlen(data), -1, &stat);
    if (rc != ZOK) failed(__FILE__, __LINE__, "set %s: %s", path, zerror(rc));
    return stat;
}

struct Stat stat_of(client c, const char *path) {
    struct Stat stat;
    int rc = zoo_exists(c.zh, path, 0, &stat);
    if (rc != ZOK) failed(__FILE__, __LINE__, "stat of %s: %s", path, zerror(rc));
    return stat;
}

bool exists(client c, const char *path) {
    struct Stat stat;
    int rc = zoo_exists(c.zh, path, 0, &stat);
    CHECK(rc == ZOK || rc == ZNONODE);
    return rc == ZOK;
}

void delete_node(client c, const char *path) {
    int rc = zoo_delete(c.zh, path, -1);
    if (rc != ZOK) failed(__FILE__, __LINE__, "delete %s: %s", path, zerror(rc));
}

void authenticate(client c, const char *credentials) {
    record *r = new_record();
    CHECK_INT(zoo_add_auth(c.zh, "digest", credentials, (int)strlen(credentials), note_reply, r),
              ZOK);
    await_count(r, 1);
    CHECK_INT(r->entries[0].state, ZOK);
}

// Runs one test in a process of its own; returns what is wrong, or NULL.
static const char *run(const test *t) {
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return "fork failed";
    if (child == 0) {
        alarm(TEST_LIMIT_S);
        t->run();
        fflush(stdout);
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child) return "waitpid failed";
    if (WIFEXITED(status)) return WEXITSTATUS(status) == 0 ? NULL : "a check failed";
    return WTERMSIG(status) == SIGALRM ? "not done in time" : strsignal(WTERMSIG(status));
}

// Arguments are names of tests; none are all.
int main(int count, char **names) {
    int passed = 0, failures = 0;
    if (getenv("COMPAT_PORT") == NULL) return 2;
    zoo_set_debug_level(0);
    for (const test *t = tests; t->name != NULL; t++) {
        bool wanted = count < 2;
        for (int i = 1; i < count; i++) wanted = wanted || strcmp(names[i], t->name) == 0;
        if (!wanted) continue;
        long long start_ms = now_ms();
        const char *wrong = run(t);
        double took_s = (double)(now_ms() - start_ms) / 1000;
        if (wrong == NULL)
            printf("ok %s (%.2f s)\n", t->name, took_s);
        else
            printf("FAILED %s (%.2f s): %s\n", t->name, took_s, wrong);
        wrong == NULL ? passed++ : failures++;
    }
    printf("%d passed, %d failed\n", passed, failures);
    return failures == 0 && passed > 0 ? 0 : 1;
}
