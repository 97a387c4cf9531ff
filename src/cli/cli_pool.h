// A few threads for work on files, beside the main one: reading and writing pictures while engines
// run. Thread rule: opened, fed, waited for and closed by one thread; jobs run on any.
#ifndef OSP_CLI_CLI_POOL_H
#define OSP_CLI_CLI_POOL_H

#include "cli.h"

typedef struct osp_cli_pool osp_cli_pool;

// Jobs that are waited for together. Zeroed: none.
typedef struct osp_cli_group {
    int32_t open;  // submitted and not done
} osp_cli_group;

// Where the system gives no thread, jobs run when they are submitted.
osp_cli_pool *osp_cli_pool_open(int32_t threads);
void osp_cli_pool_close(osp_cli_pool **pool);  // runs what was submitted
// `group` and `user` stay the caller's until the group was waited for.
void osp_cli_pool_submit(osp_cli_pool *pool, osp_cli_group *group, void (*run)(void *user),
                         void *user);
void osp_cli_pool_wait(osp_cli_pool *pool, const osp_cli_group *group);

#endif
