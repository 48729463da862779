// Memory that an idle program need not hold.
#pragma once

namespace arca {

/// Gives free heap pages back to the system, and lets go of mapped program text: what of it is needed comes back from
/// the page cache, a soft fault per 64 KiB; what only a start or a seldom request needed does not. Milliseconds; any
/// thread.
void give_back_memory();

}  // namespace arca
