export function prepareTapipy(): Promise<string | null>;
export function prepareSchemathesis(): Promise<string | null>;
