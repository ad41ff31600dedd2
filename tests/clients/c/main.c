/* ZooKeeper's C client (libzookeeper_mt) against the server at $ZK_CONNECT: prints "ok NAME" or "FAIL NAME" for each test,
 * then "N passed, N failed". With ZK_SUPERVISOR set, SIGUSR1 to that process restarts the server. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

enum { WAIT_SECONDS = 20, PIPELINE = 2000, SESSION_MS = 8000 };

static int passed, failed, is_failing;
static zhandle_t *zk;

#define EXPECT(condition)                                                                            \
    do {                                                                                             \
        if (!(condition)) {                                                                          \
            printf("    line %d: not so: %s\n", __LINE__, #condition);                               \
            is_failing = 1;                                                                          \
            return;                                                                                  \
        }                                                                                            \
    } while (0)
#define CODE(expected, call)                                                                         \
    do {                                                                                             \
        int code = (call);                                                                           \
        if (code != (expected)) {                                                                    \
            printf("    line %d: %s answers %s, not %s\n", __LINE__, #call, zerror(code), zerror(expected)); \
            is_failing = 1;                                                                          \
            return;                                                                                  \
        }                                                                                            \
    } while (0)

/* What watchers and completions report, guarded by one lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char events[64][256];
static int events_seen, events_taken;

static struct timespec deadline(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += WAIT_SECONDS;
    return at;
}

/* Waits until *value >= least. */
static int reaches(const int *value, int least) {
    struct timespec at = deadline();
    int error = 0;
    pthread_mutex_lock(&lock);
    while (*value < least && !error) error = pthread_cond_timedwait(&changed, &lock, &at);
    int holds = *value >= least;
    pthread_mutex_unlock(&lock);
    return holds;
}

static const char *type_name(int type) {
    return type == ZOO_CREATED_EVENT ? "created" : type == ZOO_DELETED_EVENT ? "deleted" : type == ZOO_CHANGED_EVENT ? "changed"
         : type == ZOO_CHILD_EVENT ? "children" : "other";
}

static void on_event(zhandle_t *handle, int type, int state, const char *path, void *context) {
    (void)handle, (void)state, (void)context;
    if (type == ZOO_SESSION_EVENT) return;
    pthread_mutex_lock(&lock);
    snprintf(events[events_seen++ % 64], sizeof events[0], "%s %s", type_name(type), path);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* The next event is `expected`. */
static int comes(const char *expected) {
    if (!reaches(&events_seen, events_taken + 1)) return 0;
    const char *found = events[events_taken++ % 64];
    if (!strcmp(found, expected)) return 1;
    printf("    the event is \"%s\", not \"%s\"\n", found, expected);
    return 0;
}

static void on_session(zhandle_t *handle, int type, int state, const char *path, void *context) {
    (void)handle, (void)path;
    if (type != ZOO_SESSION_EVENT) return;
    pthread_mutex_lock(&lock);
    int *states = context;
    if (state == ZOO_CONNECTED_STATE) states[0]++;
    else if (state == ZOO_EXPIRED_SESSION_STATE) states[1]++;
    else if (state == ZOO_AUTH_FAILED_STATE) states[2]++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static zhandle_t *open_session(const clientid_t *id, int *states) {
    return zookeeper_init(getenv("ZK_CONNECT"), on_session, SESSION_MS, id, states, 0);
}

static int make(const char *path, const char *value, int mode) {
    return zoo_create(zk, path, value, value ? (int)strlen(value) : -1, &ZOO_OPEN_ACL_UNSAFE, mode, NULL, 0);
}

static void test_data(void) {
    char value[100];
    int length = sizeof value;
    struct Stat stat, after;
    CODE(ZOK, make("/c/data", "one", ZOO_PERSISTENT));
    CODE(ZOK, zoo_get(zk, "/c/data", 0, value, &length, &stat));
    EXPECT(length == 3 && !memcmp(value, "one", 3));
    EXPECT(stat.czxid > 0 && stat.czxid == stat.mzxid && stat.version == 0 && stat.dataLength == 3);
    CODE(ZOK, zoo_set2(zk, "/c/data", "four", 4, 0, &after));
    EXPECT(after.version == 1 && after.mzxid > stat.mzxid && after.czxid == stat.czxid);
    CODE(ZBADVERSION, zoo_set(zk, "/c/data", "x", 1, 0));
    CODE(ZOK, zoo_exists(zk, "/c/data", 0, &stat));
    EXPECT(stat.version == 1 && stat.dataLength == 4);
    CODE(ZBADVERSION, zoo_delete(zk, "/c/data", 0));
    CODE(ZOK, zoo_delete(zk, "/c/data", 1));
    CODE(ZNONODE, zoo_exists(zk, "/c/data", 0, &stat));
}

static void test_errors(void) {
    struct String_vector names;
    struct Stat stat;
    char value[10];
    int length = sizeof value;
    CODE(ZOK, make("/c/errors", "", ZOO_PERSISTENT));
    CODE(ZNODEEXISTS, make("/c/errors", "", ZOO_PERSISTENT));
    CODE(ZNONODE, make("/c/absent/child", "", ZOO_PERSISTENT));
    CODE(ZNONODE, zoo_get(zk, "/c/absent", 0, value, &length, &stat));
    CODE(ZNONODE, zoo_set(zk, "/c/absent", "", 0, -1));
    CODE(ZNONODE, zoo_get_children(zk, "/c/absent", 0, &names));
    CODE(ZOK, make("/c/errors/child", "", ZOO_EPHEMERAL));
    CODE(ZNOTEMPTY, zoo_delete(zk, "/c/errors", -1));
    CODE(ZNOCHILDRENFOREPHEMERALS, make("/c/errors/child/x", "", ZOO_PERSISTENT));
}

static void test_null(void) {
    char value[10];
    int length = sizeof value;
    CODE(ZOK, make("/c/null", NULL, ZOO_PERSISTENT));
    CODE(ZOK, zoo_get(zk, "/c/null", 0, value, &length, NULL));
    EXPECT(length == -1);
    CODE(ZOK, zoo_set(zk, "/c/null", "", 0, -1));
    length = sizeof value;
    CODE(ZOK, zoo_get(zk, "/c/null", 0, value, &length, NULL));
    EXPECT(length == 0);
}

static void test_modes(void) {
    char path[100];
    struct Stat stat;
    CODE(ZOK, make("/c/modes", "", ZOO_PERSISTENT));
    CODE(ZOK, zoo_create2(zk, "/c/modes/n-", "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path, &stat));
    EXPECT(!strcmp(path, "/c/modes/n-0000000000") && stat.dataLength == 1 && stat.version == 0);
    CODE(ZOK, zoo_create2(zk, "/c/modes/n-", "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL_SEQUENTIAL, path, sizeof path, &stat));
    EXPECT(!strcmp(path, "/c/modes/n-0000000001") && stat.ephemeralOwner == zoo_client_id(zk)->client_id);
}

/* Polls until the node is gone. */
static int vanishes(const char *path) {
    struct timespec pause = {0, 10000000};
    for (int tries = 0; tries < WAIT_SECONDS * 100; tries++) {
        if (zoo_exists(zk, path, 0, NULL) == ZNONODE) return 1;
        nanosleep(&pause, NULL);
    }
    return 0;
}

static void test_container(void) {
    CODE(ZOK, make("/c/container", "", ZOO_CONTAINER));
    CODE(ZOK, make("/c/container/child", "", ZOO_PERSISTENT));
    CODE(ZOK, zoo_delete(zk, "/c/container/child", -1));
    EXPECT(vanishes("/c/container"));
}

static void test_ttl(void) {
    char path[100];
    CODE(ZOK, zoo_create_ttl(zk, "/c/ttl", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 300, NULL, 0));
    CODE(ZOK, zoo_create2_ttl(zk, "/c/ttl-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL, 300, path, sizeof path, NULL));
    EXPECT(vanishes("/c/ttl"));
    EXPECT(vanishes(path));
}

static void test_children(void) {
    struct String_vector names;
    struct Stat stat;
    char path[100];
    CODE(ZOK, make("/c/children", "", ZOO_PERSISTENT));
    for (int each = 0; each < 300; each++) {
        snprintf(path, sizeof path, "/c/children/%03d", each);
        CODE(ZOK, make(path, "", ZOO_PERSISTENT));
    }
    CODE(ZOK, zoo_get_children2(zk, "/c/children", 0, &names, &stat));
    EXPECT(names.count == 300 && stat.numChildren == 300 && stat.cversion == 300);
    deallocate_String_vector(&names);
    CODE(ZOK, zoo_get_children(zk, "/c/children", 0, &names));
    EXPECT(names.count == 300);
    deallocate_String_vector(&names);
}

static void test_watches(void) {
    struct String_vector names;
    char value[10];
    int length = sizeof value;
    CODE(ZNONODE, zoo_wexists(zk, "/c/watch", on_event, NULL, NULL));
    CODE(ZOK, make("/c/watch", "", ZOO_PERSISTENT));
    EXPECT(comes("created /c/watch"));
    CODE(ZOK, zoo_wget(zk, "/c/watch", on_event, NULL, value, &length, NULL));
    CODE(ZOK, zoo_set(zk, "/c/watch", "x", 1, -1));
    CODE(ZOK, zoo_set(zk, "/c/watch", "y", 1, -1));
    EXPECT(comes("changed /c/watch"));
    CODE(ZOK, zoo_wget_children(zk, "/c/watch", on_event, NULL, &names));
    deallocate_String_vector(&names);
    CODE(ZOK, make("/c/watch/child", "", ZOO_PERSISTENT));
    EXPECT(comes("children /c/watch"));
    CODE(ZOK, zoo_wexists(zk, "/c/watch/child", on_event, NULL, NULL));
    CODE(ZOK, zoo_delete(zk, "/c/watch/child", -1));
    EXPECT(comes("deleted /c/watch/child"));
    EXPECT(events_seen == events_taken);
}

static void test_remove_watch(void) {
    CODE(ZOK, make("/c/unwatched", "", ZOO_PERSISTENT));
    CODE(ZNOWATCHER, zoo_remove_watches(zk, "/c/unwatched", ZWATCHTYPE_DATA, on_event, NULL, 0));
    CODE(ZOK, zoo_wexists(zk, "/c/unwatched", on_event, NULL, NULL));
    CODE(ZOK, zoo_remove_watches(zk, "/c/unwatched", ZWATCHTYPE_DATA, on_event, NULL, 0));
    CODE(ZOK, zoo_set(zk, "/c/unwatched", "x", 1, -1));
    CODE(ZOK, zoo_exists(zk, "/c/unwatched", 0, NULL));
    EXPECT(events_seen == events_taken);
}

static int auth_answers;
static void on_auth(int code, const void *data) {
    (void)data;
    pthread_mutex_lock(&lock);
    auth_answers += code == ZOK;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void test_acl(void) {
    int states[3] = {0}, length = 10;
    char value[10];
    struct ACL_vector list;
    struct Stat stat;
    zhandle_t *owner = open_session(NULL, states);
    EXPECT(owner && reaches(&states[0], 1));
    CODE(ZINVALIDACL, zoo_create(owner, "/c/acl", "", 0, &ZOO_CREATOR_ALL_ACL, ZOO_PERSISTENT, NULL, 0));
    CODE(ZOK, zoo_add_auth(owner, "digest", "user:secret", 11, on_auth, NULL));
    EXPECT(reaches(&auth_answers, 1));
    CODE(ZOK, zoo_create(owner, "/c/acl", "x", 1, &ZOO_CREATOR_ALL_ACL, ZOO_PERSISTENT, NULL, 0));
    CODE(ZNOAUTH, zoo_get(zk, "/c/acl", 0, value, &length, NULL));
    CODE(ZNOAUTH, zoo_set(zk, "/c/acl", "", 0, -1));
    CODE(ZNOAUTH, zoo_set_acl(zk, "/c/acl", -1, &ZOO_OPEN_ACL_UNSAFE));
    CODE(ZOK, zoo_get_acl(owner, "/c/acl", &list, &stat));
    EXPECT(list.count == 1 && !strcmp(list.data[0].id.scheme, "digest") && !strncmp(list.data[0].id.id, "user:", 5));
    EXPECT(list.data[0].perms == ZOO_PERM_ALL && stat.aversion == 0);
    deallocate_ACL_vector(&list);
    CODE(ZBADVERSION, zoo_set_acl(owner, "/c/acl", 3, &ZOO_OPEN_ACL_UNSAFE));
    CODE(ZOK, zoo_set_acl(owner, "/c/acl", 0, &ZOO_READ_ACL_UNSAFE));
    CODE(ZOK, zoo_get(zk, "/c/acl", 0, value, &length, NULL));
    CODE(ZNOAUTH, zoo_set(zk, "/c/acl", "", 0, -1));
    zookeeper_close(owner);
}

static void test_unknown_scheme(void) {
    int states[3] = {0};
    zhandle_t *other = open_session(NULL, states);
    EXPECT(other && reaches(&states[0], 1));
    zoo_add_auth(other, "no-such-scheme", "x", 1, NULL, NULL);
    EXPECT(reaches(&states[2], 1));
    zookeeper_close(other);
}

static void test_multi(void) {
    char path[100];
    struct Stat stat;
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    CODE(ZOK, make("/c/multi", "", ZOO_PERSISTENT));
    zoo_create_op_init(&ops[0], "/c/multi/n-", "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path);
    zoo_set_op_init(&ops[1], "/c/multi", "y", 1, 0, &stat);
    zoo_check_op_init(&ops[2], "/c/multi", 1);
    zoo_create_op_init(&ops[3], "/c/multi/gone", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0);
    zoo_delete_op_init(&ops[4], "/c/multi/gone", 0);
    CODE(ZOK, zoo_multi(zk, 5, ops, results));
    EXPECT(!strcmp(path, "/c/multi/n-0000000000") && stat.version == 1);
    for (int each = 0; each < 5; each++) EXPECT(results[each].err == ZOK);
    zoo_set_op_init(&ops[0], "/c/multi", "z", 1, -1, &stat);
    zoo_check_op_init(&ops[1], "/c/multi", 7);
    zoo_delete_op_init(&ops[2], "/c/multi", -1);
    CODE(ZBADVERSION, zoo_multi(zk, 3, ops, results));
    EXPECT(results[0].err == ZOK && results[1].err == ZBADVERSION && results[2].err == ZRUNTIMEINCONSISTENCY);
    CODE(ZOK, zoo_exists(zk, "/c/multi", 0, &stat));
    EXPECT(stat.version == 1);
}

static int synced;
static void on_synced(int code, const char *value, const void *data) {
    (void)data;
    pthread_mutex_lock(&lock);
    synced += code == ZOK && value && !strcmp(value, "/c");
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void test_sync(void) {
    CODE(ZOK, zoo_async(zk, "/c", on_synced, NULL));
    EXPECT(reaches(&synced, 1));
}

static int answers, in_order, round_trips;
static void on_set(int code, const struct Stat *stat, const void *data) {
    pthread_mutex_lock(&lock);
    in_order += code == ZOK && stat->version == (int)(long)data + 1 && answers == 2 * (long)data;
    answers++;
    pthread_mutex_unlock(&lock);
}
static void on_get(int code, const char *value, int length, const struct Stat *stat, const void *data) {
    (void)stat;
    pthread_mutex_lock(&lock);
    in_order += code == ZOK && length == sizeof(int) && !memcmp(value, &(int){(int)(long)data}, sizeof(int));
    answers++;
    round_trips++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void test_pipeline(void) {
    CODE(ZOK, make("/c/pipeline", "", ZOO_PERSISTENT));
    for (long each = 0; each < PIPELINE; each++) {
        int value = (int)each;
        CODE(ZOK, zoo_aset(zk, "/c/pipeline", (const char *)&value, sizeof value, -1, on_set, (void *)each));
        CODE(ZOK, zoo_aget(zk, "/c/pipeline", 0, on_get, (void *)each));
    }
    EXPECT(reaches(&round_trips, PIPELINE));
    EXPECT(in_order == 2 * PIPELINE);
}

static int created;
static void on_created(int code, const char *value, const struct Stat *stat, const void *data) {
    (void)data;
    pthread_mutex_lock(&lock);
    created += code == ZOK && value && stat->version == 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void test_asynchronous_create(void) {
    struct Stat stat;
    CODE(ZOK, make("/c/async", "", ZOO_PERSISTENT));
    for (int each = 0; each < PIPELINE; each++) {
        CODE(ZOK, zoo_acreate2(zk, "/c/async/n-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL_SEQUENTIAL, on_created, NULL));
    }
    EXPECT(reaches(&created, PIPELINE));
    CODE(ZOK, zoo_exists(zk, "/c/async", 0, &stat));
    EXPECT(stat.numChildren == PIPELINE);
}

static void test_ephemeral(void) {
    int states[3] = {0};
    zhandle_t *other = open_session(NULL, states);
    EXPECT(other && reaches(&states[0], 1));
    CODE(ZOK, zoo_create(other, "/c/ephemeral", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0));
    CODE(ZOK, zoo_wexists(zk, "/c/ephemeral", on_event, NULL, NULL));
    zookeeper_close(other);
    EXPECT(comes("deleted /c/ephemeral"));
}

static void test_resume(void) {
    int states[3] = {0}, again[3] = {0};
    zhandle_t *first = open_session(NULL, states);
    EXPECT(first && reaches(&states[0], 1));
    clientid_t id = *zoo_client_id(first);
    zhandle_t *second = open_session(&id, again);
    EXPECT(second && reaches(&again[0], 1));
    EXPECT(zoo_client_id(second)->client_id == id.client_id);
    zookeeper_close(second);
    zookeeper_close(first);
}

static void test_wrong_password(void) {
    int states[3] = {0}, owned[3] = {0};
    zhandle_t *owner = open_session(NULL, owned);
    EXPECT(owner && reaches(&owned[0], 1));
    clientid_t id = {.client_id = zoo_client_id(owner)->client_id};
    zhandle_t *intruder = open_session(&id, states);
    EXPECT(intruder && reaches(&states[1], 1));
    zookeeper_close(intruder);
    zookeeper_close(owner);
}

static void test_chroot(void) {
    int states[3] = {0};
    char connect[200], path[100];
    snprintf(connect, sizeof connect, "%s/c/root", getenv("ZK_CONNECT"));
    CODE(ZOK, make("/c/root", "", ZOO_PERSISTENT));
    zhandle_t *inside = zookeeper_init(connect, on_session, SESSION_MS, NULL, states, 0);
    EXPECT(inside && reaches(&states[0], 1));
    CODE(ZOK, zoo_create(inside, "/a", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, path, sizeof path));
    EXPECT(!strcmp(path, "/a"));
    CODE(ZOK, zoo_exists(zk, "/c/root/a", 0, NULL));
    CODE(ZOK, zoo_wexists(inside, "/a", on_event, NULL, NULL));
    CODE(ZOK, zoo_delete(zk, "/c/root/a", -1));
    EXPECT(comes("deleted /a"));
    zookeeper_close(inside);
}

static void test_large(void) {
    int length = 1000 * 1000, found = length;
    char *sent = malloc(length), *value = malloc(length);
    for (int each = 0; each < length; each++) sent[each] = (char)(each * 31);
    CODE(ZOK, zoo_create(zk, "/c/large", sent, length, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0));
    CODE(ZOK, zoo_get(zk, "/c/large", 0, value, &found, NULL));
    EXPECT(found == length && !memcmp(sent, value, length));
    free(sent);
    free(value);
}

static void test_killed(void) {
    int states[3] = {0}, length = 10;
    char value[10];
    EXPECT(getenv("ZK_SUPERVISOR"));
    zhandle_t *client = open_session(NULL, states);
    EXPECT(client && reaches(&states[0], 1));
    clientid_t id = *zoo_client_id(client);
    CODE(ZOK, zoo_create(client, "/c/killed", "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0));
    CODE(ZOK, zoo_wget(client, "/c/killed", on_event, NULL, value, &length, NULL));
    kill(atoi(getenv("ZK_SUPERVISOR")), SIGUSR1);
    EXPECT(reaches(&states[0], 2));
    EXPECT(zoo_client_id(client)->client_id == id.client_id);
    CODE(ZOK, zoo_set(client, "/c/killed", "y", 1, 0));
    EXPECT(comes("changed /c/killed"));
    zookeeper_close(client);
}

static void run(const char *name, void (*test)(void)) {
    is_failing = 0;
    test();
    printf("%s %s\n", is_failing ? "FAIL" : "ok", name);
    fflush(stdout);
    is_failing ? failed++ : passed++;
}

int main(void) {
    int states[3] = {0};
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zoo_set_log_stream(fopen("/dev/null", "w"));
    alarm(180); /* No test may hang the run. */
    zk = open_session(NULL, states);
    if (!zk || !reaches(&states[0], 1) || make("/c", "", ZOO_PERSISTENT) != ZOK) {
        printf("FAIL connect\n0 passed, 1 failed\n");
        return 1;
    }
    run("create, get, set, delete", test_data);
    run("errors", test_errors);
    run("null and empty data", test_null);
    run("create2, sequential, ephemeral", test_modes);
    run("container", test_container);
    run("TTL", test_ttl);
    run("children", test_children);
    run("watches", test_watches);
    run("removed watch", test_remove_watch);
    run("ACL and digest auth", test_acl);
    run("unknown auth scheme", test_unknown_scheme);
    run("multi", test_multi);
    run("sync", test_sync);
    run("asynchronous pipeline, in order", test_pipeline);
    run("asynchronous create2", test_asynchronous_create);
    run("ephemeral ends with its session", test_ephemeral);
    run("session resumed", test_resume);
    run("chroot", test_chroot);
    run("a wrong password is told Expired", test_wrong_password);
    run("1 MB of data", test_large);
    run("kill -9: session, ephemeral and watch are kept", test_killed);
    zookeeper_close(zk);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
