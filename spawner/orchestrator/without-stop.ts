/** A sentence that goes on: without its full stop. */
export function withoutStop(sentence: string): string {
  return sentence.replace(/\.$/, '');
}
