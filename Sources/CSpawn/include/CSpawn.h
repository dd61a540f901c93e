#pragma once

#include <sys/types.h>

/// Starts a program in a session of its own, at "/", with these descriptors as its input and output (errors too) and no others, with no
/// signal blocked or ignored. Returns 0, or an error as errno has it.
int CSpawn_start(pid_t *process, char *const arguments[], char *const environment[], int input, int output);

/// Makes a pipe that programs don't inherit: ends[0] is for reading. Returns 0, or -1 with errno.
int CSpawn_pipe(int ends[2]);
