// Happens-before edges for ThreadSanitizer where a library that is not instrumented hands something from one thread to
// another; nothing in other builds.
#pragma once

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define ARCA_TSAN_RELEASE(p) __tsan_release(const_cast<void*>(static_cast<const void*>(p)))
#define ARCA_TSAN_ACQUIRE(p) __tsan_acquire(const_cast<void*>(static_cast<const void*>(p)))
#endif
#endif
#ifndef ARCA_TSAN_RELEASE
#define ARCA_TSAN_RELEASE(p) ((void)0)
#define ARCA_TSAN_ACQUIRE(p) ((void)0)
#endif
