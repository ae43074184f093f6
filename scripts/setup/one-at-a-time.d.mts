export function oneAtATime<T>(path: string, work: () => Promise<T>): Promise<T>;
