/** close_range(2): the descriptors stay open in this process, and are closed in what it starts. */
const CLOSE_RANGE_CLOEXEC = 4;
const LAST = 0xffff_ffff;

/**
 * Programs that this process starts do not inherit descriptors that were open when Podgate was started: a pod could read
 * from them. Node takes care of its own descriptors, and of inherited ones up to the first gap.
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
