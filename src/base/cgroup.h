/* What the control groups of this process allow: memory and processor time, v1, v2 and hybrid mounts. Used by os.c. */
#ifndef MP_BASE_CGROUP_H
#define MP_BASE_CGROUP_H

#include <stdint.h>

typedef struct mp_cgroup {
    int      version;      /* of the group that rules memory: 0 none, 1, 2 */
    uint64_t limit_bytes;  /* smallest limit from the process's group up to the root; 0 = none */
    uint64_t used_bytes;   /* of the group with that limit, less its inactive file cache; 0 when there is no limit */
    uint64_t quota_mcpu;   /* smallest processor quota on the way up, in thousandths of a processor; 0 = none */
} mp_cgroup;

/* Never fails: what cannot be read does not limit. root is put in front of every path; "" for this system, a folder with copies of
 * /proc/self/{cgroup,mountinfo} and of the group files for tests. Source: cgroups(7), Linux Documentation/admin-guide/cgroup-v1
 * and cgroup-v2. Test: tests/base/test_os.c. */
void mp_cgroup_get(const char *root, mp_cgroup *out);

#endif
