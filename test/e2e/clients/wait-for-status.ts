/** Asks again and again until the pod has this status; throws after 20 s. */
export async function waitForStatus(read: () => Promise<string | undefined>, status: string): Promise<void> {
  for (let turn = 0; turn < 400; turn += 1) {
    if ((await read()) === status) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not ${status}`);
}
