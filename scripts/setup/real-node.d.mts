export function prepareRealNode(): Promise<string | null>;
export function realNodeHome(): string;
