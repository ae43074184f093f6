/** `https://host[:port]`, as clients write it: without the usual port. */
export function httpsUrl(host: string, port: number): string {
  return `https://${host}${port === 443 ? '' : `:${port}`}`;
}
