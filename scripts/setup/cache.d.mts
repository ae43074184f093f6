export const NEO4J_VERSION: string;
export function preparedNeo4jHome(): string;
export function stableNeo4jHome(): string;
export const KUBERNETES_VERSION: string;
export const ETCD_VERSION: string;
export function preparedKubernetesHome(): string;
export function preparedDebianRoot(): string;
