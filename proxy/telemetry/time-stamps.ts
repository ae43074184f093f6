/** Wall-clock ms as ISO 8601; what has not changed since the stamp before is not made again. */
export function createTimeStamps(): (atMs: number) => string {
  let lastSecond = NaN;
  let text = '';
  return (atMs) => {
    const second = Math.floor(atMs / 1_000);
    if (second !== lastSecond) {
      lastSecond = second;
      text = new Date(second * 1_000).toISOString().slice(0, 20);
    }
    return `${text}${String(Math.floor(atMs - second * 1_000)).padStart(3, '0')}Z`;
  };
}
