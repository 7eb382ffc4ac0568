// What the C client has to find in a server.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

static struct Id ann = {"digest", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="}; // The id of u:p.

static bool same(struct Stat a, struct Stat b) {
    return a.czxid == b.czxid && a.mzxid == b.mzxid && a.pzxid == b.pzxid && a.ctime == b.ctime &&
           a.mtime == b.mtime && a.version == b.version && a.cversion == b.cversion &&
           a.aversion == b.aversion && a.ephemeralOwner == b.ephemeralOwner &&
           a.dataLength == b.dataLength && a.numChildren == b.numChildren;
}

static void a_session_has_an_id_a_password_and_a_timeout_in_the_servers_range(void) {
    const int asked_ms[] = {100, 7000, 3600000}, expected_ms[] = {1000, 7000, 30000};
    for (int i = 0; i < 3; i++) {
        client c = connect_to(server_address(), asked_ms[i], NULL);
        CHECK(zoo_client_id(c.zh)->client_id != 0);
        char zeros[16] = {0};
        CHECK(memcmp(zoo_client_id(c.zh)->passwd, zeros, 16) != 0);
        CHECK_INT(zoo_recv_timeout(c.zh), expected_ms[i]);
        CHECK_INT(zookeeper_close(c.zh), ZOK);
    }
}

static void nodes_are_created_read_updated_and_deleted(void) {
    client c = connect_client();
    const char *path = at(home(c, "crud"), "n");
    char text[100];
    int length = sizeof text;
    struct Stat born, read, updated;

    CHECK_INT(zoo_create2(c.zh, path, "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, text, sizeof text, &born),
              ZOK);
    CHECK_TEXT(text, path);
    CHECK(born.czxid > 0 && born.czxid == born.mzxid && born.czxid == born.pzxid);
    CHECK(born.ctime == born.mtime && llabs(born.ctime / 1000 - (long long)time(NULL)) < 60);
    CHECK(born.version == 0 && born.cversion == 0 && born.aversion == 0);
    CHECK(born.dataLength == 3 && born.numChildren == 0 && born.ephemeralOwner == 0);
    CHECK_INT(zoo_get(c.zh, path, 0, text, &length, &read), ZOK);
    CHECK(length == 3 && memcmp(text, "one", 3) == 0);
    CHECK(same(read, born));

    CHECK_INT(zoo_set2(c.zh, path, "three", 5, 0, &updated), ZOK);
    CHECK(updated.version == 1 && updated.dataLength == 5 && updated.mzxid > born.mzxid);
    CHECK(updated.czxid == born.czxid && updated.ctime == born.ctime);
    CHECK(updated.pzxid == born.pzxid && updated.mtime >= born.mtime);
    CHECK(same(stat_of(c, path), updated));

    CHECK_INT(zoo_set(c.zh, path, "", 0, 0), ZBADVERSION);
    CHECK_INT(zoo_delete(c.zh, path, 0), ZBADVERSION);
    CHECK_INT(zoo_delete(c.zh, path, 1), ZOK);
    CHECK(!exists(c, path));
}

static void null_and_empty_data_differ(void) {
    client c = connect_client();
    const char *path = home(c, "null");
    struct ACL_vector *open = &ZOO_OPEN_ACL_UNSAFE;
    CHECK_INT(zoo_create(c.zh, at(path, "null"), NULL, -1, open, 0, NULL, 0), ZOK);
    CHECK_INT(zoo_create(c.zh, at(path, "empty"), "", 0, open, 0, NULL, 0), ZOK);
    char text[10];
    int length = sizeof text;
    CHECK_INT(zoo_get(c.zh, at(path, "null"), 0, text, &length, NULL), ZOK);
    CHECK_INT(length, -1);
    length = sizeof text;
    CHECK_INT(zoo_get(c.zh, at(path, "empty"), 0, text, &length, NULL), ZOK);
    CHECK_INT(length, 0);
}

static void a_parent_counts_its_children(void) {
    client c = connect_client();
    const char *path = home(c, "parent");
    struct Stat empty = stat_of(c, path);
    create(c, at(path, "a"), "", 0);
    create(c, at(path, "b"), "", 0);
    set(c, at(path, "b"), "no change to the parent");
    struct Stat two = stat_of(c, path), one;
    delete_node(c, at(path, "a"));
    struct String_vector names;
    CHECK_INT(zoo_get_children2(c.zh, path, 0, &names, &one), ZOK);

    CHECK_INT(names.count, 1);
    CHECK_TEXT(names.data[0], "b");
    CHECK(two.numChildren == 2 && two.cversion == 2 && two.pzxid > empty.pzxid);
    CHECK(one.numChildren == 1 && one.cversion == 3 && one.pzxid > two.pzxid);
    CHECK(one.mzxid == empty.mzxid && one.version == 0);
}

static void sequential_names_count_every_child_ever_created(void) {
    client c = connect_client();
    const char *path = home(c, "sequential"), *prefix = at(path, "s-");
    struct ACL_vector *open = &ZOO_OPEN_ACL_UNSAFE;
    char text[100];
    CHECK_INT(zoo_create(c.zh, prefix, "", 0, open, ZOO_SEQUENCE, text, sizeof text), ZOK);
    CHECK_TEXT(text, at(path, "s-0000000000"));
    create(c, at(path, "plain"), "", 0);
    delete_node(c, at(path, "plain"));
    CHECK_INT(zoo_create(c.zh, text, "", 0, open, 0, NULL, 0), ZNODEEXISTS);
    CHECK_INT(zoo_create(c.zh, prefix, "", 0, open, ZOO_PERSISTENT_SEQUENTIAL, text, sizeof text),
              ZOK);
    CHECK_TEXT(text, at(path, "s-0000000002"));
    struct Stat stat;
    CHECK_INT(zoo_create2(c.zh, prefix, "", 0, open, ZOO_EPHEMERAL_SEQUENTIAL, text, sizeof text,
                          &stat),
              ZOK);
    CHECK_TEXT(text, at(path, "s-0000000003"));
    CHECK_INT(stat.ephemeralOwner, zoo_client_id(c.zh)->client_id);
}

static void an_ephemeral_lives_as_long_as_its_session(void) {
    client owner = connect_client(), witness = connect_client();
    const char *path = home(witness, "ephemeral"), *node = at(path, "e");
    create(owner, node, "mine", ZOO_EPHEMERAL);
    CHECK_INT(stat_of(witness, node).ephemeralOwner, zoo_client_id(owner.zh)->client_id);
    CHECK_INT(zoo_create(witness.zh, at(node, "child"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
              ZNOCHILDRENFOREPHEMERALS);

    record *gone = new_record(), *changed = new_record();
    struct String_vector names;
    CHECK_INT(zoo_wexists(witness.zh, node, note, gone, &(struct Stat){0}), ZOK);
    CHECK_INT(zoo_wget_children(witness.zh, path, note, changed, &names), ZOK);
    CHECK_INT(zookeeper_close(owner.zh), ZOK);
    await_event(gone, ZOO_DELETED_EVENT, node);
    await_event(changed, ZOO_CHILD_EVENT, path);
    CHECK(!exists(witness, node));
}

static void a_container_goes_after_its_last_child(void) {
    client c = connect_client();
    const char *node = at(home(c, "container"), "c");
    struct Stat stat;
    CHECK_INT(zoo_create2(c.zh, node, "data", 4, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, NULL, 0,
                          &stat),
              ZOK);
    CHECK(stat.ephemeralOwner == 0 && stat.dataLength == 4);
    create(c, at(node, "child"), "", 0);
    record *gone = new_record();
    CHECK_INT(zoo_wexists(c.zh, node, note, gone, &stat), ZOK);
    expect_silence(gone);
    delete_node(c, at(node, "child"));
    await_event(gone, ZOO_DELETED_EVENT, node);
}

static void a_ttl_node_goes_when_its_time_is_over(void) {
    client c = connect_client();
    const char *path = home(c, "ttl"), *node = at(path, "t");
    struct ACL_vector *open = &ZOO_OPEN_ACL_UNSAFE;
    struct Stat stat;
    char text[100];
    long long start_ms = now_ms();
    CHECK_INT(zoo_create2_ttl(c.zh, node, "data", 4, open, ZOO_PERSISTENT_WITH_TTL, 1500, text,
                              sizeof text, &stat),
              ZOK);
    CHECK(stat.ephemeralOwner == 0 && stat.dataLength == 4);
    CHECK_INT(zoo_create_ttl(c.zh, at(path, "s-"), "", 0, open, ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL,
                             3600000, text, sizeof text),
              ZOK);
    CHECK_TEXT(text, at(path, "s-0000000001"));
    record *gone = new_record();
    CHECK_INT(zoo_wexists(c.zh, node, note, gone, &stat), ZOK);
    await_event(gone, ZOO_DELETED_EVENT, node);
    CHECK(now_ms() - start_ms >= 1500);
    CHECK(exists(c, text));
    CHECK_INT(zoo_create_ttl(c.zh, node, "", 0, open, ZOO_PERSISTENT_WITH_TTL, 1LL << 40, NULL, 0),
              ZBADARGUMENTS);
}

static void refusals_have_their_own_codes(void) {
    client c = connect_client();
    const char *path = home(c, "errors"), *none = at(path, "none");
    struct ACL_vector *open = &ZOO_OPEN_ACL_UNSAFE, acl;
    struct Stat stat;
    struct String_vector names;
    char text[10];
    int length = sizeof text;
    create(c, at(path, "child"), "", 0);
    CHECK_INT(zoo_get(c.zh, none, 0, text, &length, NULL), ZNONODE);
    CHECK_INT(zoo_set(c.zh, none, "", 0, -1), ZNONODE);
    CHECK_INT(zoo_get_children(c.zh, none, 0, &names), ZNONODE);
    CHECK_INT(zoo_get_acl(c.zh, none, &acl, &stat), ZNONODE);
    CHECK_INT(zoo_set_acl(c.zh, none, -1, open), ZNONODE);
    CHECK_INT(zoo_delete(c.zh, none, -1), ZNONODE);
    CHECK_INT(zoo_create(c.zh, at(none, "child"), "", 0, open, 0, NULL, 0), ZNONODE);
    CHECK_INT(zoo_create(c.zh, path, "", 0, open, 0, NULL, 0), ZNODEEXISTS);
    CHECK_INT(zoo_delete(c.zh, path, -1), ZNOTEMPTY);
    CHECK_INT(zoo_delete(c.zh, "/zookeeper/config", -1), ZBADARGUMENTS);
    CHECK_INT(zoo_create(c.zh, none, "", 0, &(struct ACL_vector){0, NULL}, 0, NULL, 0), ZINVALIDACL);
    struct ACL nonsense = {ZOO_PERM_ALL, {"nonsense", "x"}};
    CHECK_INT(zoo_set_acl(c.zh, path, -1, &(struct ACL_vector){1, &nonsense}), ZINVALIDACL);
    CHECK_INT(zoo_reconfig(c.zh, NULL, "1", NULL, -1, text, &length, &stat), ZRECONFIGDISABLED);
    length = sizeof text;
    CHECK_INT(zoo_getconfig(c.zh, 0, text, &length, &stat), ZOK);
    CHECK_INT(length, 0);
}

static void watches_fire_once_and_tell_what_happened(void) {
    client c = connect_client(), other = connect_client();
    const char *path = home(c, "watches"), *node = at(path, "n");
    struct Stat stat;
    struct String_vector names;
    char text[10];
    int length = sizeof text;

    record *existence = new_record(), *children = new_record(), *data = new_record();
    CHECK_INT(zoo_wexists(c.zh, node, note, existence, &stat), ZNONODE);
    CHECK_INT(zoo_wget_children2(c.zh, path, note, children, &names, &stat), ZOK);
    create(other, node, "", 0);
    await_event(existence, ZOO_CREATED_EVENT, node);
    await_event(children, ZOO_CHILD_EVENT, path);

    CHECK_INT(zoo_wget(c.zh, node, note, data, text, &length, NULL), ZOK);
    set(other, node, "");
    await_event(data, ZOO_CHANGED_EVENT, node);
    set(other, node, "nobody watches any more");
    delete_node(other, node);
    create(other, node, "", 0);
    expect_silence(data);
    expect_count(existence, 1);
    expect_count(children, 1);
    expect_count(data, 1);

    // Several watchers of one node hear of one event; a deletion ends them all.
    record *records[] = {new_record(), new_record(), new_record()};
    CHECK_INT(zoo_wget(c.zh, node, note, records[0], text, &length, NULL), ZOK);
    CHECK_INT(zoo_wexists(c.zh, node, note, records[1], &stat), ZOK);
    CHECK_INT(zoo_wget_children(c.zh, node, note, records[2], &names), ZOK);
    CHECK_INT(zoo_set_acl(other.zh, node, -1, &ZOO_OPEN_ACL_UNSAFE), ZOK);
    expect_silence(records[0]);
    delete_node(other, node);
    for (int i = 0; i < 3; i++) await_event(records[i], ZOO_DELETED_EVENT, node);
    expect_silence(records[2]);
    for (int i = 0; i < 3; i++) expect_count(records[i], 1);
}

// The client's one completion thread tells events and replies in the order of their arrival.
static void a_notification_comes_before_the_writes_reply(void) {
    client c = connect_client();
    const char *path = home(c, "before_reply");
    struct Stat stat;
    for (int i = 0; i < 50; i++) {
        record *r = new_record();
        CHECK_INT(zoo_wexists(c.zh, path, note, r, &stat), ZOK);
        CHECK_INT(zoo_aset(c.zh, path, "", 0, i, note_stat, r), ZOK);
        await_count(r, 2);
        CHECK_INT(r->entries[0].type, ZOO_CHANGED_EVENT);
        CHECK_INT(r->entries[1].type, REPLY);
        CHECK_INT(r->entries[1].state, ZOK);
    }
}

static void a_reader_hears_of_a_change_before_it_sees_it(void) {
    client reader = connect_client(), writer = connect_client();
    const char *path = home(writer, "reader");
    struct Stat stat;
    for (int i = 0; i < 50; i++) {
        char text[10];
        snprintf(text, sizeof text, "%d", i);
        record *r = new_record();
        CHECK_INT(zoo_wexists(reader.zh, path, note, r, &stat), ZOK);
        set(writer, path, text);
        CHECK_INT(zoo_aget(reader.zh, path, 0, note_data, r), ZOK);
        await_count(r, 2);
        CHECK_INT(r->entries[0].type, ZOO_CHANGED_EVENT);
        CHECK_TEXT(r->entries[1].path, text);
    }
}

// To remove one of several watchers the client only asks whether the server has the watch (op 17); to
// remove all of them it has the server forget it (op 18).
static void a_removed_watch_is_forgotten_by_the_server(void) {
    client c = connect_client();
    const char *path = home(c, "removed");
    struct Stat stat;
    struct String_vector names;
    record *one = new_record(), *other = new_record(), *children = new_record();
    CHECK_INT(zoo_wexists(c.zh, path, note, one, &stat), ZOK);
    CHECK_INT(zoo_wexists(c.zh, path, note, other, &stat), ZOK);
    CHECK_INT(zoo_wget_children(c.zh, path, note, children, &names), ZOK);
    CHECK(word_lists("wchp", path)); // It lists watches for data only.

    CHECK_INT(zoo_remove_watches(c.zh, path, ZWATCHTYPE_DATA, note, one, 0), ZOK);
    CHECK(word_lists("wchp", path));
    CHECK_INT(zoo_remove_all_watches(c.zh, path, ZWATCHTYPE_DATA, 0), ZOK);
    CHECK(!word_lists("wchp", path));
    CHECK_INT(zoo_remove_all_watches(c.zh, path, ZWATCHTYPE_DATA, 0), ZNOWATCHER);
    create(c, at(path, "child"), "", 0);
    await_event(children, ZOO_CHILD_EVENT, path);
    set(c, path, "");
    expect_silence(other);
    expect_count(one, 0);
}

static void a_multi_does_all(void) {
    client c = connect_client();
    const char *path = home(c, "multi"), *new = at(path, "new"), *old = at(path, "old");
    create(c, old, "", 0);
    char first[100], second[100];
    struct Stat updated;
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    zoo_create_op_init(&ops[0], new, "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, first, sizeof first);
    zoo_create_op_init(&ops[1], at(path, "s-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, second,
                       sizeof second);
    zoo_set_op_init(&ops[2], new, "two", 3, 0, &updated);
    zoo_check_op_init(&ops[3], new, 1);
    zoo_delete_op_init(&ops[4], old, 0);
    CHECK_INT(zoo_multi(c.zh, 5, ops, results), ZOK);

    for (int i = 0; i < 5; i++) CHECK_INT(results[i].err, ZOK);
    CHECK_TEXT(first, new);
    CHECK_TEXT(second, at(path, "s-0000000002"));
    CHECK(updated.version == 1 && updated.dataLength == 3 && updated.mzxid == updated.czxid);
    struct Stat stat = stat_of(c, new), parent = stat_of(c, path);
    CHECK(same(stat, updated));
    CHECK(parent.pzxid == stat.czxid && parent.numChildren == 2 && parent.cversion == 4);
    CHECK(!exists(c, old));
}

static void a_failed_multi_does_nothing(void) {
    client c = connect_client();
    const char *path = home(c, "multi_failed");
    struct Stat before = stat_of(c, path), updated;
    record *r = new_record();
    char text[100];
    int length = sizeof text;
    CHECK_INT(zoo_wget(c.zh, path, note, r, text, &length, NULL), ZOK);
    zoo_op_t ops[4];
    zoo_op_result_t results[4];
    zoo_create_op_init(&ops[0], at(path, "s-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, text,
                       sizeof text);
    zoo_set_op_init(&ops[1], path, "changed", 7, -1, &updated);
    zoo_check_op_init(&ops[2], path, 9);
    zoo_delete_op_init(&ops[3], at(path, "never"), -1);
    CHECK_INT(zoo_multi(c.zh, 4, ops, results), ZBADVERSION);

    CHECK_INT(results[0].err, ZOK);
    CHECK_INT(results[1].err, ZOK);
    CHECK_INT(results[2].err, ZBADVERSION);
    CHECK_INT(results[3].err, ZRUNTIMEINCONSISTENCY);
    expect_silence(r);
    CHECK(same(stat_of(c, path), before));
    CHECK_INT(zoo_create(c.zh, at(path, "s-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, text,
                         sizeof text),
              ZOK);
    CHECK_TEXT(text, at(path, "s-0000000000")); // No number is lost.
}

static void expect_refused(client c, const char *path) {
    struct ACL_vector acl;
    struct Stat stat;
    struct String_vector names;
    char text[10];
    int length = sizeof text;
    CHECK_INT(zoo_get(c.zh, path, 0, text, &length, NULL), ZNOAUTH);
    CHECK_INT(zoo_exists(c.zh, path, 0, &stat), ZNOAUTH);
    CHECK_INT(zoo_get_children(c.zh, path, 0, &names), ZNOAUTH);
    CHECK_INT(zoo_set(c.zh, path, "", 0, -1), ZNOAUTH);
    CHECK_INT(zoo_get_acl(c.zh, path, &acl, &stat), ZNOAUTH);
    CHECK_INT(zoo_set_acl(c.zh, path, -1, &ZOO_OPEN_ACL_UNSAFE), ZNOAUTH);
    CHECK_INT(zoo_create(c.zh, at(path, "n"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZNOAUTH);
}

static void a_digest_acl_admits_its_user_only(void) {
    client owner = connect_client(), stranger = connect_client();
    const char *path = at(home(owner, "digest"), "secret");
    struct ACL entry = {ZOO_PERM_ALL, ann};
    struct ACL_vector mine = {1, &entry}, acl;
    struct Stat stat;
    authenticate(owner, "u:p");
    CHECK_INT(zoo_create(owner.zh, path, "data", 4, &mine, 0, NULL, 0), ZOK);
    CHECK_INT(zoo_get_acl(owner.zh, path, &acl, &stat), ZOK);
    CHECK(acl.count == 1 && acl.data[0].perms == ZOO_PERM_ALL);
    CHECK_TEXT(acl.data[0].id.scheme, ann.scheme);
    CHECK_TEXT(acl.data[0].id.id, ann.id);

    expect_refused(stranger, path);
    authenticate(stranger, "u:wrong");
    expect_refused(stranger, path);
    authenticate(stranger, "u:p");
    char text[10];
    int length = sizeof text;
    CHECK_INT(zoo_get(stranger.zh, path, 0, text, &length, NULL), ZOK);
    CHECK(length == 4 && memcmp(text, "data", 4) == 0);
    set(stranger, path, "it may write too");
}

static void the_auth_scheme_stands_for_the_creators_identities(void) {
    client c = connect_client();
    const char *path = home(c, "auth"), *node = at(path, "n");
    struct ACL_vector *creator = &ZOO_CREATOR_ALL_ACL, acl;
    struct Stat stat;
    CHECK_INT(zoo_create(c.zh, node, "", 0, creator, 0, NULL, 0), ZINVALIDACL);
    authenticate(c, "u:p");
    CHECK_INT(zoo_create(c.zh, node, "", 0, creator, 0, NULL, 0), ZOK);
    CHECK_INT(zoo_get_acl(c.zh, node, &acl, &stat), ZOK);
    CHECK(acl.count == 1 && acl.data[0].perms == ZOO_PERM_ALL);
    CHECK_TEXT(acl.data[0].id.id, ann.id);

    CHECK_INT(zoo_set_acl(c.zh, node, 0, &ZOO_READ_ACL_UNSAFE), ZOK);
    CHECK_INT(stat_of(c, node).aversion, 1);
    CHECK_INT(zoo_set_acl(c.zh, node, -1, creator), ZNOAUTH);
    CHECK_INT(zoo_set(c.zh, node, "", 0, -1), ZNOAUTH);
    CHECK_INT(zoo_set_acl(c.zh, path, 9, &ZOO_READ_ACL_UNSAFE), ZBADVERSION);
}

static void an_unknown_scheme_makes_the_handle_unusable(void) {
    client c = connect_client();
    record *r = new_record();
    CHECK_INT(zoo_add_auth(c.zh, "nonsense", "x", 1, note_reply, r), ZOK);
    await_count(r, 1);
    CHECK_INT(r->entries[0].state, ZAUTHFAILED);
    await_state(c, ZOO_AUTH_FAILED_STATE);
    CHECK(is_unrecoverable(c.zh));
}

static void values_of_up_to_a_mebibyte_come_back_as_written(void) {
    client c = connect_client();
    const char *path = home(c, "big");
    // The largest frame, less the header, the path and its length, the data's length and the version.
    int bytes_max = FRAME_BYTES_MAX - (8 + 4 + (int)strlen(path) + 4 + 4);
    const int sizes[] = {1, 1 << 10, 64 << 10, 1000 << 10, bytes_max};
    char *data = malloc((size_t)bytes_max), *read = malloc((size_t)bytes_max + 1);
    for (int i = 0; i < bytes_max; i++) data[i] = (char)(i % 251);
    for (int i = 0; i < 5; i++) {
        struct Stat stat;
        int length = bytes_max + 1;
        CHECK_INT(zoo_set2(c.zh, path, data, sizes[i], -1, &stat), ZOK);
        CHECK_INT(stat.dataLength, sizes[i]);
        CHECK_INT(zoo_get(c.zh, path, 0, read, &length, NULL), ZOK);
        CHECK_INT(length, sizes[i]);
        CHECK(memcmp(read, data, (size_t)length) == 0);
    }
}

static void a_frame_above_the_limit_costs_the_connection_only(void) {
    client c = connect_client();
    const char *path = home(c, "too_big"), *node = at(path, "e");
    create(c, node, "", ZOO_EPHEMERAL);
    int64_t session = zoo_client_id(c.zh)->client_id;
    int bytes = FRAME_BYTES_MAX + 1 - (8 + 4 + (int)strlen(path) + 4 + 4);
    CHECK_INT(zoo_set(c.zh, path, calloc(1, (size_t)bytes), bytes, -1), ZCONNECTIONLOSS);
    await_state(c, ZOO_CONNECTED_STATE);
    CHECK_INT(zoo_client_id(c.zh)->client_id, session);
    CHECK_INT(stat_of(c, path).version, 0);
    CHECK_INT(stat_of(c, node).ephemeralOwner, session);
}

static int compare(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void a_thousand_children_are_listed(void) {
    client c = connect_client();
    const char *path = home(c, "thousand");
    zoo_op_t ops[100];
    zoo_op_result_t results[100];
    for (int i = 0; i < 1000; i++) {
        char name[20];
        snprintf(name, sizeof name, "child-%04d", i);
        zoo_create_op_init(&ops[i % 100], at(path, name), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
        if (i % 100 == 99) CHECK_INT(zoo_multi(c.zh, 100, ops, results), ZOK);
    }
    struct String_vector names;
    struct Stat stat;
    CHECK_INT(zoo_get_children2(c.zh, path, 0, &names, &stat), ZOK);
    CHECK(stat.numChildren == 1000 && stat.cversion == 1000 && names.count == 1000);
    qsort(names.data, 1000, sizeof names.data[0], compare);
    for (int i = 0; i < 1000; i++) {
        char name[20];
        snprintf(name, sizeof name, "child-%04d", i);
        CHECK_TEXT(names.data[i], name);
    }
}

static void note_path(int rc, const char *path, const void *context) {
    note(NULL, REPLY, rc, path, (void *)context);
}

static void pipelined_requests_are_done_in_order(void) {
    enum { ROUNDS = 300 };
    client c = connect_client();
    const char *path = home(c, "pipelined"), *node = at(path, "n"), *prefix = at(path, "s-");
    create(c, node, "", 0);
    record *r = new_record();
    for (int i = 0; i < ROUNDS; i++) {
        char text[10];
        snprintf(text, sizeof text, "%d", i);
        CHECK_INT(zoo_acreate(c.zh, prefix, "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, note_path, r),
                  ZOK);
        CHECK_INT(zoo_aset(c.zh, node, text, (int)strlen(text), i, note_stat, r), ZOK);
        CHECK_INT(zoo_aget(c.zh, node, 0, note_data, r), ZOK);
        CHECK_INT(zoo_async(c.zh, path, note_path, r), ZOK);
    }
    await_count(r, 4 * ROUNDS);
    for (int i = 0; i < ROUNDS; i++) {
        char name[20], text[10];
        snprintf(name, sizeof name, "s-%010d", i + 1);
        snprintf(text, sizeof text, "%d", i);
        for (int j = 0; j < 4; j++) CHECK_INT(r->entries[4 * i + j].state, ZOK);
        CHECK_TEXT(r->entries[4 * i].path, at(path, name));
        CHECK_TEXT(r->entries[4 * i + 2].path, text);
        CHECK_TEXT(r->entries[4 * i + 3].path, path); // sync tells its path.
    }
}

static void a_chroot_is_transparent(void) {
    client c = connect_client();
    const char *path = home(c, "chroot");
    char address[100], text[100];
    snprintf(address, sizeof address, "%s%s", server_address(), path);
    client inner = connect_to(address, CALM_MS, NULL);
    record *r = new_record();
    struct Stat stat;
    CHECK_INT(zoo_wexists(inner.zh, "/n", note, r, &stat), ZNONODE);
    create(c, at(path, "n"), "", 0);
    await_event(r, ZOO_CREATED_EVENT, "/n");
    CHECK_INT(zoo_create(inner.zh, "/n/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, text,
                         sizeof text),
              ZOK);
    CHECK_TEXT(text, "/n/s-0000000000");
}

static void a_session_goes_on_after_a_restart_and_its_watches_fire_for_what_it_missed(void) {
    client c = connect_to(link_address(), CALM_MS, NULL);
    authenticate(c, "u:p");
    const char *path = home(c, "restart");
    const char *names[] = {"changed", "gone", "untouched", "parent", "quiet"};
    for (int i = 0; i < 5; i++) create(c, at(path, names[i]), "", 0);
    create(c, at(path, "e"), "", ZOO_EPHEMERAL);
    CHECK_INT(zoo_create(c.zh, at(path, "mine"), "", 0, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0), ZOK);
    int64_t session = zoo_client_id(c.zh)->client_id;

    struct Stat stat;
    struct String_vector children;
    char text[10];
    int length = 0;
    record *changed = new_record(), *gone = new_record(), *untouched = new_record();
    record *appeared = new_record(), *grown = new_record(), *quiet = new_record();
    CHECK_INT(zoo_wget(c.zh, at(path, "changed"), note, changed, text, &length, NULL), ZOK);
    CHECK_INT(zoo_wget(c.zh, at(path, "gone"), note, gone, text, &length, NULL), ZOK);
    CHECK_INT(zoo_wget(c.zh, at(path, "untouched"), note, untouched, text, &length, NULL), ZOK);
    CHECK_INT(zoo_wexists(c.zh, at(path, "appeared"), note, appeared, &stat), ZNONODE);
    CHECK_INT(zoo_wget_children(c.zh, at(path, "parent"), note, grown, &children), ZOK);
    CHECK_INT(zoo_wget_children(c.zh, at(path, "quiet"), note, quiet, &children), ZOK);

    control("stop");
    link_cut();
    control("start");
    client other = connect_client();
    set(other, at(path, "changed"), "while it was away");
    delete_node(other, at(path, "gone"));
    create(other, at(path, "appeared"), "", 0);
    create(other, at(path, "parent/child"), "", 0);
    link_mend();

    await_event(changed, ZOO_CHANGED_EVENT, at(path, "changed"));
    await_event(gone, ZOO_DELETED_EVENT, at(path, "gone"));
    await_event(appeared, ZOO_CREATED_EVENT, at(path, "appeared"));
    await_event(grown, ZOO_CHILD_EVENT, at(path, "parent"));
    await_state(c, ZOO_CONNECTED_STATE);
    CHECK_INT(zoo_client_id(c.zh)->client_id, session);
    CHECK_INT(stat_of(other, at(path, "e")).ephemeralOwner, session);
    stat_of(c, at(path, "mine")); // Its identity came along.

    expect_silence(untouched);
    expect_count(untouched, 0);
    set(other, at(path, "untouched"), "");
    create(other, at(path, "quiet/child"), "", 0);
    await_event(untouched, ZOO_CHANGED_EVENT, at(path, "untouched"));
    await_event(quiet, ZOO_CHILD_EVENT, at(path, "quiet"));
}

static void a_session_moves_to_a_second_handle_and_ends_with_it(void) {
    client first = connect_to(link_address(), CALM_MS, NULL), witness = connect_client();
    const char *path = home(witness, "moved"), *node = at(path, "e");
    create(first, node, "", ZOO_EPHEMERAL);
    clientid_t id = *zoo_client_id(first.zh), forged = id;
    link_cut();

    forged.passwd[0] = (char)(forged.passwd[0] ^ 1);
    client thief = open_to(server_address(), CALM_MS, &forged);
    await_state(thief, ZOO_EXPIRED_SESSION_STATE);
    CHECK(exists(witness, node));

    client second = connect_to(server_address(), CALM_MS, &id);
    CHECK_INT(zoo_client_id(second.zh)->client_id, id.client_id);
    set(second, node, "the session may write");
    record *gone = new_record();
    struct Stat stat;
    CHECK_INT(zoo_wexists(witness.zh, node, note, gone, &stat), ZOK);
    CHECK_INT(zookeeper_close(second.zh), ZOK);
    await_event(gone, ZOO_DELETED_EVENT, node);
    link_mend();
    await_state(first, ZOO_EXPIRED_SESSION_STATE);
    CHECK(is_unrecoverable(first.zh) != ZOK);
}

static void a_silent_session_expires(void) {
    client c = connect_to(link_address(), BRIEF_MS, NULL), witness = connect_client();
    const char *path = home(witness, "expired"), *node = at(path, "e");
    create(c, node, "", ZOO_EPHEMERAL);
    record *gone = new_record();
    struct Stat stat;
    CHECK_INT(zoo_wexists(witness.zh, node, note, gone, &stat), ZOK);
    usleep(2 * BRIEF_MS * 1000); // The client's pings keep it alive.
    CHECK(exists(witness, node));

    link_cut();
    long long start_ms = now_ms();
    await_event(gone, ZOO_DELETED_EVENT, node);
    CHECK(now_ms() - start_ms >= BRIEF_MS / 2);
    link_mend();
    await_state(c, ZOO_EXPIRED_SESSION_STATE);
    CHECK_INT(zoo_set(c.zh, path, "", 0, -1), ZINVALIDSTATE);
    CHECK(!exists(witness, node));
}

#define TEST(name) {#name, name}
const test tests[] = {
    TEST(a_session_has_an_id_a_password_and_a_timeout_in_the_servers_range),
    TEST(nodes_are_created_read_updated_and_deleted),
    TEST(null_and_empty_data_differ),
    TEST(a_parent_counts_its_children),
    TEST(sequential_names_count_every_child_ever_created),
    TEST(an_ephemeral_lives_as_long_as_its_session),
    TEST(a_container_goes_after_its_last_child),
    TEST(a_ttl_node_goes_when_its_time_is_over),
    TEST(refusals_have_their_own_codes),
    TEST(watches_fire_once_and_tell_what_happened),
    TEST(a_notification_comes_before_the_writes_reply),
    TEST(a_reader_hears_of_a_change_before_it_sees_it),
    TEST(a_removed_watch_is_forgotten_by_the_server),
    TEST(a_multi_does_all),
    TEST(a_failed_multi_does_nothing),
    TEST(a_digest_acl_admits_its_user_only),
    TEST(the_auth_scheme_stands_for_the_creators_identities),
    TEST(an_unknown_scheme_makes_the_handle_unusable),
    TEST(values_of_up_to_a_mebibyte_come_back_as_written),
    TEST(a_frame_above_the_limit_costs_the_connection_only),
    TEST(a_thousand_children_are_listed),
    TEST(pipelined_requests_are_done_in_order),
    TEST(a_chroot_is_transparent),
    TEST(a_session_goes_on_after_a_restart_and_its_watches_fire_for_what_it_missed),
    TEST(a_session_moves_to_a_second_handle_and_ends_with_it),
    TEST(a_silent_session_expires),
    {NULL, NULL},
};
