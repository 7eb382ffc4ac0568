// The link of harness.h: one thread moves the bytes of all its connections.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

enum { PAIRS_MAX = 16, TURN_MS = 20 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool is_cut;
static int listener;
static int pairs[PAIRS_MAX][2]; // Client's end, server's end; 0 is no socket.

static void drop(int i) {
    for (int side = 0; side < 2; side++) {
        if (pairs[i][side] != 0) close(pairs[i][side]);
        pairs[i][side] = 0;
    }
}

static int dial_server(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)atoi(getenv("COMPAT_PORT")));
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(server > 0);
    if (connect(server, (struct sockaddr *)&address, sizeof address) == 0) return server;
    close(server);
    return 0;
}

static void admit(int from) {
    int server = is_cut ? 0 : dial_server();
    for (int i = 0; i < PAIRS_MAX && server != 0; i++) {
        if (pairs[i][0] == 0) {
            pairs[i][0] = from;
            pairs[i][1] = server;
            return;
        }
    }
    close(from);
    if (server != 0) close(server);
}

// Passes on what has arrived at one end; says whether the connection goes on.
static bool pass(int from, int to) {
    static char chunk[1 << 16];
    ssize_t length = recv(from, chunk, sizeof chunk, MSG_DONTWAIT);
    if (length < 0) return errno == EAGAIN || errno == EINTR;
    for (ssize_t sent = 0; sent < length;) {
        ssize_t step = send(to, chunk + sent, (size_t)(length - sent), MSG_NOSIGNAL);
        if (step < 0) return false;
        sent += step;
    }
    return length > 0;
}

static void *work(void *unused) {
    (void)unused;
    for (;;) {
        struct pollfd fds[1 + 2 * PAIRS_MAX] = {{.fd = listener, .events = POLLIN}};
        pthread_mutex_lock(&mutex);
        for (int i = 0; i < PAIRS_MAX; i++) {
            for (int side = 0; side < 2; side++) {
                int fd = pairs[i][side];
                fds[1 + 2 * i + side] = (struct pollfd){.fd = fd != 0 ? fd : -1, .events = POLLIN};
            }
        }
        pthread_mutex_unlock(&mutex);
        poll(fds, 1 + 2 * PAIRS_MAX, TURN_MS);
        pthread_mutex_lock(&mutex);
        for (int i = 0; i < PAIRS_MAX; i++) {
            for (int side = 0; side < 2 && pairs[i][0] != 0; side++) {
                bool ready = fds[1 + 2 * i + side].revents != 0;
                if (ready && !pass(pairs[i][side], pairs[i][!side])) drop(i);
            }
        }
        if (fds[0].revents != 0) {
            int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (client > 0) admit(client);
        }
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

const char *link_address(void) {
    static char text[32];
    if (listener != 0) return text;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener > 0);
    CHECK(bind(listener, (struct sockaddr *)&address, length) == 0);
    CHECK(listen(listener, 16) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(address.sin_port));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
    return text;
}

void link_cut(void) {
    pthread_mutex_lock(&mutex);
    is_cut = true;
    for (int i = 0; i < PAIRS_MAX; i++) {
        for (int side = 0; side < 2; side++) {
            // The thread may be polling it, so it alone closes it.
            if (pairs[i][side] != 0) shutdown(pairs[i][side], SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&mutex);
}

void link_mend(void) {
    pthread_mutex_lock(&mutex);
    is_cut = false;
    pthread_mutex_unlock(&mutex);
}
