#pragma once
#include <argon2.h>
#include <crypt.h>
