#define _GNU_SOURCE
#include "CSpawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

int CSpawn_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int input, int output) {
    int failure = posix_spawn_file_actions_adddup2(actions, input, STDIN_FILENO);
    if (failure == 0) failure = posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
    if (failure == 0) failure = posix_spawn_file_actions_adddup2(actions, output, STDERR_FILENO);
    if (failure == 0) failure = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
    if (failure == 0) failure = posix_spawn_file_actions_addchdir_np(actions, "/");
    sigset_t signals;
    sigemptyset(&signals);
    if (failure == 0) failure = posix_spawnattr_setsigmask(attributes, &signals);
    sigfillset(&signals);
    if (failure == 0) failure = posix_spawnattr_setsigdefault(attributes, &signals);
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID;
    if (failure == 0) failure = posix_spawnattr_setflags(attributes, flags);
    return failure;
}

int CSpawn_start(pid_t *process, char *const arguments[], char *const environment[], int input, int output) {
    posix_spawn_file_actions_t actions;
    int failure = posix_spawn_file_actions_init(&actions);
    if (failure != 0) return failure;
    posix_spawnattr_t attributes;
    failure = posix_spawnattr_init(&attributes);
    if (failure == 0) {
        failure = prepare(&actions, &attributes, input, output);
        if (failure == 0) failure = posix_spawn(process, arguments[0], &actions, &attributes, arguments, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}
