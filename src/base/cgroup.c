/* Finding our control groups and their limits.
 *
 *   /proc/self/cgroup      "4:memory:/a/b"  or  "0::/a/b" (v2)       our group in each hierarchy
 *   /proc/self/mountinfo   root, mount point, type, controllers      where each hierarchy can be read
 *
 * A mount may show only a part of its hierarchy (containers do that): `root` is then cut from the front of the group's path.
 */
#include "base/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/procfs.h"

enum { PATH_BYTES = 2048 };
static const uint64_t NO_LIMIT = 1ull << 60; /* v1 says "none" with a number near 2^63 */

/* A group's folder: dir[0 .. top) is the mount point, the rest goes down to our own group. */
typedef struct group {
    char   dir[PATH_BYTES];
    size_t top;
} group;

/* Is word one of the comma-separated words of list? */
static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *s = list; (s = strstr(s, word)); s += n)
        if ((s == list || s[-1] == ',') && (s[n] == 0 || s[n] == ',')) return true;
    return false;
}

/* Our path in the hierarchy of a v1 controller, or of v2 when controller is "". */
static bool own_path(const char *root, const char *controller, char *path) {
    char file[PATH_BYTES];
    snprintf(file, sizeof file, "%s/proc/self/cgroup", root);
    mp_lines lines;
    if (!mp_lines_open(file, &lines)) return false;
    bool found = false;
    for (char *line; !found && (line = mp_lines_next(&lines));) {
        char *names = strchr(line, ':'), *where = names ? strchr(names + 1, ':') : NULL;
        if (!where) continue;
        *where++ = 0;
        found = *controller ? has_word(names + 1, controller) : !strncmp(line, "0:", 2) && !names[1];
        if (found) snprintf(path, PATH_BYTES, "%s", where);
    }
    mp_lines_close(&lines);
    return found;
}

/* The mount of a hierarchy: fields of a mountinfo line are "id parent dev root point options [tags] - type source super". */
static bool mount_of(char *line, const char *controller, char **root, char **point) {
    char *tail = strstr(line, " - ");
    if (!tail) return false;
    *tail = 0;
    char *save = NULL, *type = strtok_r(tail + 3, " ", &save), *super = NULL;
    strtok_r(NULL, " ", &save);
    super = strtok_r(NULL, " ", &save);
    if (!type || strcmp(type, *controller ? "cgroup" : "cgroup2") != 0) return false;
    if (*controller && (!super || !has_word(super, controller))) return false;
    char *field[5] = {0};
    save = NULL;
    for (int i = 0; i < 5; i++) field[i] = strtok_r(i ? NULL : line, " ", &save);
    *root = field[3];
    *point = field[4];
    return *root && *point;
}

static bool find_group(const char *root, const char *controller, group *out) {
    char path[PATH_BYTES], file[PATH_BYTES];
    if (!own_path(root, controller, path)) return false;
    snprintf(file, sizeof file, "%s/proc/self/mountinfo", root);
    mp_lines lines;
    if (!mp_lines_open(file, &lines)) return false;
    bool found = false;
    for (char *line; !found && (line = mp_lines_next(&lines));) {
        char *mount_root = NULL, *point = NULL;
        if (!mount_of(line, controller, &mount_root, &point)) continue;
        size_t n = strcmp(mount_root, "/") ? strlen(mount_root) : 0;
        const char *rest = !strncmp(path, mount_root, n) && (path[n] == '/' || !path[n]) ? path + n : "";
        if (strstr(rest, "/..")) rest = ""; /* our group lies outside of what the mount shows: its top is the best we can read */
        int top = snprintf(out->dir, sizeof out->dir, "%s%s", root, point);
        int all = snprintf(out->dir, sizeof out->dir, "%s%s%s", root, point, strcmp(rest, "/") ? rest : "");
        out->top = (size_t)top;
        found = all < (int)sizeof out->dir;
    }
    mp_lines_close(&lines);
    return found;
}

/* One folder up; false at the mount point. */
static bool group_up(group *g) {
    char *slash = strrchr(g->dir, '/');
    if (strlen(g->dir) <= g->top || !slash) return false;
    *slash = 0;
    return true;
}

static bool read_in(const group *g, const char *name, char *buf, size_t bytes) {
    char file[PATH_BYTES + 64];
    snprintf(file, sizeof file, "%s/%s", g->dir, name);
    return mp_file_line(file, buf, bytes);
}

static uint64_t number_in(const group *g, const char *name) {
    char text[64];
    return read_in(g, name, text, sizeof text) ? strtoull(text, NULL, 10) : 0; /* "max" gives 0: no limit */
}

static uint64_t memory_used(const group *g, int version) {
    char file[PATH_BYTES + 64];
    snprintf(file, sizeof file, "%s/memory.stat", g->dir);
    uint64_t used = number_in(g, version == 1 ? "memory.usage_in_bytes" : "memory.current");
    uint64_t idle = mp_file_field(file, version == 1 ? "total_inactive_file " : "inactive_file ");
    return used > idle ? used - idle : 0;
}

static void get_memory(const char *root, mp_cgroup *out) {
    group g;
    out->version = find_group(root, "memory", &g) ? 1 : find_group(root, "", &g) ? 2 : 0;
    if (!out->version) return;
    do {
        uint64_t limit = number_in(&g, out->version == 1 ? "memory.limit_in_bytes" : "memory.max");
        if (!limit || limit >= NO_LIMIT || (out->limit_bytes && limit >= out->limit_bytes)) continue;
        out->limit_bytes = limit;
        out->used_bytes = memory_used(&g, out->version);
    } while (group_up(&g));
}

/* In thousandths of a processor; 0 = none. */
static uint64_t quota_of(const group *g, int version) {
    char text[64];
    if (!read_in(g, version == 1 ? "cpu.cfs_quota_us" : "cpu.max", text, sizeof text)) return 0;
    char *end = text;
    long long quota = strtoll(text, &end, 10); /* -1 (v1) and "max" (v2) are no quota */
    long long period = version == 1 ? (long long)number_in(g, "cpu.cfs_period_us") : strtoll(end, NULL, 10);
    return quota > 0 && period > 0 ? (uint64_t)quota * 1000 / (uint64_t)period : 0;
}

static void get_quota(const char *root, mp_cgroup *out) {
    group g;
    int version = find_group(root, "cpu", &g) ? 1 : find_group(root, "", &g) ? 2 : 0;
    if (!version) return;
    do {
        uint64_t quota = quota_of(&g, version);
        if (quota && (!out->quota_mcpu || quota < out->quota_mcpu)) out->quota_mcpu = quota;
    } while (group_up(&g));
}

void mp_cgroup_get(const char *root, mp_cgroup *out) {
    *out = (mp_cgroup){0};
    get_memory(root, out);
    get_quota(root, out);
}
