import { stringify } from 'yaml';
import type { KeyAndCertificate } from './certificates.ts';

export type KubeUser =
  | { readonly kind: 'certificate'; readonly pair: KeyAndCertificate }
  | { readonly kind: 'token'; readonly token: string };

/** A kubeconfig that holds everything itself: one cluster, one user, one context. */
export function kubeconfigOf(server: string, ca: string, user: KubeUser, namespace = 'default'): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': base64(ca) } }],
    users: [
      {
        name: 'test',
        user:
          user.kind === 'token'
            ? { token: user.token }
            : {
                'client-certificate-data': base64(user.pair.certificate),
                'client-key-data': base64(user.pair.key),
              },
      },
    ],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace } }],
  });
}
