export function preparePostgresDrivers(): Promise<string | null>;
export function postgresDriversHome(): string;
