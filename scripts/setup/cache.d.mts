export const NEO4J_VERSION: string;
export function cacheRoot(): string;
export function preparedNeo4jHome(): string;
