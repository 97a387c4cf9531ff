// One lock, one queue: jobs take milliseconds, so that neither is ever contended.
#include "cli_pool.h"

#include <pthread.h>
#include <stdlib.h>

enum { MAX_THREADS = 16 };

typedef struct job {
    struct job *next;
    osp_cli_group *group;
    void (*run)(void *user);
    void *user;
} job;

struct osp_cli_pool {
    pthread_mutex_t lock;
    pthread_cond_t wanted, done;  // a job was submitted, or there will be none; one was finished
    job *first, *last;
    bool closing;
    int32_t threads;
    pthread_t thread[MAX_THREADS];
};

static void *work(void *user)
{
    osp_cli_pool *p = user;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->closing)
            pthread_cond_wait(&p->wanted, &p->lock);
        job *j = p->first;
        if (!j)
            break;
        p->first = j->next;
        pthread_mutex_unlock(&p->lock);
        j->run(j->user);
        pthread_mutex_lock(&p->lock);
        j->group->open--;
        free(j);
        pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

osp_cli_pool *osp_cli_pool_open(int32_t threads)
{
    osp_cli_pool *p = osp_cli_alloc(1, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wanted, NULL);
    pthread_cond_init(&p->done, NULL);
    while (p->threads < threads && p->threads < MAX_THREADS &&
           !pthread_create(&p->thread[p->threads], NULL, work, p))
        p->threads++;
    return p;
}

void osp_cli_pool_close(osp_cli_pool **pool)
{
    osp_cli_pool *p = *pool;
    if (!p)
        return;
    *pool = NULL;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->wanted);
    pthread_mutex_unlock(&p->lock);
    for (int32_t i = 0; i < p->threads; i++)
        pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wanted);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void osp_cli_pool_submit(osp_cli_pool *p, osp_cli_group *group, void (*run)(void *user), void *user)
{
    if (!p->threads) {
        run(user);
        return;
    }
    job *j = osp_cli_alloc(1, sizeof *j);
    *j = (job){.group = group, .run = run, .user = user};
    pthread_mutex_lock(&p->lock);
    group->open++;
    if (p->first)
        p->last->next = j;
    else
        p->first = j;
    p->last = j;
    pthread_cond_signal(&p->wanted);
    pthread_mutex_unlock(&p->lock);
}

void osp_cli_pool_wait(osp_cli_pool *p, const osp_cli_group *group)
{
    pthread_mutex_lock(&p->lock);
    while (group->open)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
