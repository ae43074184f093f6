/** close_range(2): the descriptors stay open in this process, and are closed in what it starts. */
const CLOSE_RANGE_CLOEXEC = 4;
const LAST = 0xffff_ffff;

/**
 * No program that this process starts inherits a descriptor that whoever started Podgate left open: a pod could read from
 * it. Node itself looks after its own, and after inherited ones up to the first gap.
 */
export function keepDescriptorsFromChildren(): void {
  if (process.platform !== 'linux') return;
  try {
    const { functions } = process
      .getBuiltinModule('node:ffi')
      .dlopen(null, { close_range: { arguments: ['u32', 'u32', 'i32'], return: 'i32' } });
    functions.close_range(3, LAST, CLOSE_RANGE_CLOEXEC);
  } catch {
    // A Node without FFI, or a C library from before 2021.
  }
}
