export const NEO4J_VERSION: string;
export function preparedNeo4jHome(): string;
export function stableNeo4jHome(): string;
