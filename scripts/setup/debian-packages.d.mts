export function prepareDebianPackages(): Promise<string | null>;
export function installDebianPackages(names: readonly string[], purpose: string): Promise<string | null>;
