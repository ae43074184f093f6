// Loaded into Podgate's processes by tests (NODE_OPTIONS=--import): SIGWINCH makes one spin, SIGURG makes it throw.
process.on('SIGWINCH', () => {
  for (;;);
});
process.on('SIGURG', () => {
  throw new Error('thrown by a test');
});
