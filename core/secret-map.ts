/** One entry of a pod's secret map, as records keep it. */
export interface MappedSecret {
  /** As it was written: `${secret:name}`. See parseSecretReference. */
  readonly reference: string;
  /** Who wrote it: the secret is used with this user's permission, then and at every start. */
  readonly by: string;
  /** Of a `${pods:random:N}`: its value, sealed with the pod and the key as context. */
  readonly sealed?: string;
}

export type SecretMap = Readonly<Record<string, MappedSecret>>;

export function mappedSecretContext(podUid: string, key: string): string {
  return `${podUid}/secret_map/${key}`;
}
