export function prepareNeo4jDrivers(): Promise<string | null>;
export function neo4jDriversHome(): string;
