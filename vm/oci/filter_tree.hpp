// A seccomp program made shorter. libseccomp compares with each system call's number; the calls in between two such
// comparisons mostly have the same answer, so that a search among the borders of such ranges is enough. The kernel
// translates a program for every process that loads it, in time with its length.
#pragma once
#include <linux/filter.h>

#include <vector>

namespace arca::oci {

/// A program with the same answer for every architecture, number and arguments. The program itself where it has
/// instructions that libseccomp does not write, or would not become shorter.
std::vector<sock_filter> search_tree_of(const std::vector<sock_filter>& program);

}  // namespace arca::oci
