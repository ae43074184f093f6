export function isOnPath(program: string): Promise<boolean>;
