import { PASSED_THROUGH_MAX } from '../../../../core/cancel-answer.ts';

/**
 * Live sessions of Postgres routes with `tls: passthrough`, by the address of their client. Their keys are never seen
 * here, so this is all there is to go by when a cancel comes in plaintext.
 */
export class PassedThroughSessions {
  /** Address -> host -> how many. */
  readonly #hosts = new Map<string, Map<string, number>>();

  /** Returns how to take it back, once. */
  add(address: string, host: string): () => void {
    let hosts = this.#hosts.get(address);
    if (hosts === undefined) {
      hosts = new Map();
      this.#hosts.set(address, hosts);
    }
    hosts.set(host, (hosts.get(host) ?? 0) + 1);
    return () => this.#remove(address, host);
  }

  /** PASSED_THROUGH_MAX of them at most. */
  hostsOf(address: string): readonly string[] {
    return [...(this.#hosts.get(address)?.keys() ?? [])].slice(0, PASSED_THROUGH_MAX);
  }

  #remove(address: string, host: string): void {
    const hosts = this.#hosts.get(address);
    if (hosts === undefined) return;
    const left = (hosts.get(host) ?? 0) - 1;
    if (left > 0) hosts.set(host, left);
    else hosts.delete(host);
    if (hosts.size === 0) this.#hosts.delete(address);
  }
}
